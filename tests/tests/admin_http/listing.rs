//! Pages of keys while keys come and go, and the cache at one look.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use cache_admin::jobs::JobsConfig;
use cache_core::{CacheClient as _, Ttl};
use serde_json::json;
use tests::{Cluster, ClusterOptions, ServerOptions, Version};

use super::Served;

#[tokio::test]
async fn pages_see_each_key_that_stays_while_others_come_and_go() -> Result<()> {
    for version in [Version::Valkey8, Version::Valkey9] {
        let cluster = Cluster::start(ClusterOptions::new(3, 0).node(ServerOptions::new(version))).await?;
        let served = Served::start(&cluster, JobsConfig::default()).await?;
        let stays = |number: u32| format!("stays:{number}");
        served.fill((0..3_000).map(stays)).await?;
        // Others come and go all the while.
        let (client, ended) = (Arc::clone(&served.stack.client), Arc::new(AtomicBool::new(false)));
        let over = Arc::clone(&ended);
        let others = tokio::spawn(async move {
            let mut number = 0_u32;
            while !over.load(Ordering::Relaxed) {
                let key = format!("stays:not:{}", number % 500);
                client.set(&key, "x".into(), Ttl::Forever).await?;
                client
                    .del(&[&format!("stays:not:{}", (number + 250) % 500)])
                    .await?;
                number += 1;
            }
            anyhow::Ok(())
        });
        let mut seen = BTreeSet::new();
        let mut cursor = String::new();
        let mut pages = 0;
        loop {
            let path = format!("/cache/keys?pattern=stays:*&limit=200&fields=size,ttl,type{cursor}");
            let page = served.client.get(&path).await?;
            ensure!(page.status == 200, "{version:?}: {page:?}");
            for entry in page.json["keys"].as_array().context("no keys")? {
                ensure!(
                    entry["type"] == "string" && entry["size"].as_u64() > Some(0),
                    "{entry}"
                );
                seen.insert(entry["key"].as_str().context("no key")?.to_owned());
            }
            pages += 1;
            match page.json["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        ended.store(true, Ordering::Relaxed);
        others.await??;
        let missed: Vec<u32> = (0..3_000)
            .filter(|number| !seen.contains(&stays(*number)))
            .collect();
        ensure!(
            missed.is_empty(),
            "{version:?}: missed {missed:?} on {pages} pages"
        );
        ensure!(pages > 5, "{pages}");
        served.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_cache_at_one_look_has_every_primary_and_a_key_has_its_home() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let served = Served::start(&cluster, JobsConfig::default()).await?;
    served.fill((0..30).map(|number| format!("k:{number}"))).await?;
    let overview = served.client.get("/cache").await?;
    ensure!(overview.status == 200, "{overview:?}");
    ensure!(
        overview.json["mode"] == "cluster" && overview.json["keys"] == 30,
        "{overview:?}"
    );
    ensure!(
        overview.json["nodes"]
            .as_array()
            .is_some_and(|nodes| nodes.len() == 3),
        "{overview:?}"
    );

    // A key that is no text, by its bytes.
    let home = cluster.primary_of(cache_core::slot::slot_of(b"raw:\xff")).await?;
    let set = [&b"SET"[..], b"raw:\xff", b"\xff\x01"];
    cluster.node(home).call(&set).await?;
    let path = "/cache?key_base64=cmF3Ov8=&value=true";
    let found = served.client.get(path).await?;
    ensure!(found.status == 200, "{found:?}");
    ensure!(found.json["key_base64"] == "cmF3Ov8=", "{found:?}");
    ensure!(found.json["value"]["base64"] == "/wE=", "{found:?}");
    let address = cluster.addresses()[home].clone();
    ensure!(found.json["primary"] == json!(address), "{found:?}");
    let removed = served
        .client
        .ask("DELETE", "/cache?key_base64=cmF3Ov8=", &[], "")
        .await?;
    ensure!(removed.json == json!({ "removed": 1 }), "{removed:?}");
    ensure!(served.client.get(path).await?.status == 404);
    served.stop().await
}
