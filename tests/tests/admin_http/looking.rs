//! Looks into a real cluster: rates between two requests, big keys of the caller's, the doctor, generations.

use anyhow::{Context as _, Result, ensure};
use cache_admin::jobs::JobsConfig;
use cache_core::{CacheClient as _, Ttl};
use serde_json::json;
use tests::{Cluster, ClusterOptions, ServerOptions, Version};

use super::Served;

#[tokio::test]
async fn rates_are_of_the_time_between_two_requests_of_one_reader_and_nothing_is_kept() -> Result<()> {
    let node = ServerOptions::new(Version::Valkey8)
        .line("slowlog-log-slower-than 0")
        .line("cluster-require-full-coverage no");
    let cluster = Cluster::start(ClusterOptions::new(3, 0).node(node)).await?;
    let served = Served::start(&cluster, JobsConfig::default()).await?;
    let first = served.client.get("/cache/pulse").await?;
    ensure!(first.status == 200, "{first:?}");
    let primaries = first.json["primaries"].as_array().context("no primaries")?;
    // What needs two looks is missing at the first.
    ensure!(
        primaries.len() == 3 && primaries.iter().all(|one| one["main_thread"].is_null()),
        "{first:?}"
    );
    for number in 0..300 {
        let key = format!("user:secret-name:{number}");
        served
            .stack
            .client
            .set(&key, "hunter2".into(), Ttl::secs(60))
            .await?;
        served.stack.client.get(&key).await?;
        ensure!(
            served
                .stack
                .client
                .get(&format!("missing:{number}"))
                .await
                .is_err()
        );
    }
    let reading = first.json["reading"].as_str().context("no reading")?;
    let path = format!("/cache/pulse?since={reading}");
    let second = served.client.get(&path).await?;
    ensure!(second.status == 200, "{second:?}");
    for primary in second.json["primaries"].as_array().context("no primaries")? {
        let number = |name: &str| {
            primary[name]
                .as_f64()
                .with_context(|| format!("{name}: {primary}"))
        };
        ensure!(number("ops_per_second")? > 0.0, "{primary}");
        // Between the looks one read in two hit.
        ensure!((0.3..0.7).contains(&number("hit_rate")?), "{primary}");
        ensure!(
            number("main_thread")? > 0.0 && number("evicted_per_second")? == 0.0,
            "{primary}"
        );
    }
    let told = second.json.to_string();
    ensure!(
        second.json["slow"]
            .as_array()
            .is_some_and(|slow| !slow.is_empty()),
        "{told}"
    );
    ensure!(
        !told.contains("hunter2") && !told.contains("secret-name"),
        "{told}"
    );

    cluster.kill(2)?;
    let third = served.client.get(&path).await?;
    let silent = third.json["primaries"].as_array().context("no primaries")?.iter();
    let silent: Vec<_> = silent.filter(|one| one["reachable"] == false).collect();
    ensure!(
        silent.len() == 1 && silent[0]["address"] == json!(cluster.addresses()[2]),
        "{third:?}"
    );
    served.stop().await
}

#[tokio::test]
async fn only_keys_that_match_are_named_however_large_others_are() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let served = Served::start(&cluster, JobsConfig::default()).await?;
    served
        .fill((0..2_000).map(|number| format!("user:{number}")))
        .await?;
    let large = bytes::Bytes::from(vec![b'l'; 50_000]);
    for number in 0..30 {
        let key = format!("cart:{number}");
        served.stack.client.set(&key, large.clone(), Ttl::Forever).await?;
    }
    let all = served.client.get("/cache/big-keys?top=5").await?;
    ensure!(all.status == 200 && all.json["exact"] == true, "{all:?}");
    let largest = all.json["largest"].as_array().context("no keys")?;
    let carts = |key: &&serde_json::Value| key["key"].as_str().is_some_and(|key| key.starts_with("cart:"));
    ensure!(
        largest.len() == 5 && largest.iter().filter(carts).count() == 5,
        "{all:?}"
    );
    ensure!(all.json["by_prefix"][0]["name"] == "cart:", "{all:?}");
    ensure!(all.json["by_prefix"][0]["estimated_keys"] == 30, "{all:?}");

    for samples in [500, 20_000] {
        let path = format!("/cache/big-keys?pattern=user:*&samples={samples}");
        let users = served.client.get(&path).await?;
        ensure!(users.status == 200, "{users:?}");
        ensure!(users.json["exact"] == (samples > 2_030), "{users:?}");
        ensure!(!users.json.to_string().contains("cart:"), "{users:?}");
        let sampled = users.json["sampled"].as_u64().context("no number")?;
        ensure!((490..=2_030).contains(&sampled), "{users:?}");
    }
    served.stop().await
}

#[tokio::test]
async fn one_examination_is_made_at_a_time_and_nothing_is_left_of_it() -> Result<()> {
    let node = ServerOptions::new(Version::Valkey8)
        .line("maxmemory 100mb")
        .line("maxmemory-policy allkeys-lru");
    let cluster = Cluster::start(ClusterOptions::new(3, 0).node(node)).await?;
    let served = Served::start(&cluster, JobsConfig::default()).await?;
    let path = "/cache/doctor";
    let (one, other) = futures::join!(served.client.get(path), served.client.get(path));
    let (one, other) = (one?, other?);
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    ensure!(statuses == [200, 503], "{one:?} {other:?}");
    let (found, refused) = if one.status == 200 {
        (one, other)
    } else {
        (other, one)
    };
    ensure!(
        refused.json["type"] == "urn:problem-type:cache-admin:busy"
            && refused.header("retry-after").is_some(),
        "{refused:?}"
    );
    let state = |check: &str| {
        let findings = found.json["findings"].as_array()?;
        let finding = findings.iter().find(|finding| finding["check"] == check)?;
        finding["state"].as_str()
    };
    for check in [
        "tcp",
        "auth",
        "permissions",
        "primaries",
        "cluster-state",
        "slots",
        "epochs",
        "tracking",
        "near-tier",
    ] {
        ensure!(state(check) == Some("ok"), "{check}: {found:?}");
    }
    for node in cluster.nodes() {
        ensure!(node.call(&["DBSIZE"]).await?.integer() == Some(0));
    }
    // Its place is free again, also for one that finds something.
    cluster.kill(1)?;
    let broken = served.client.get("/cache/doctor?deadline_ms=2000").await?;
    ensure!(
        broken.status == 200 && broken.json["worst"] == "fail",
        "{broken:?}"
    );
    served.stop().await
}

#[tokio::test]
async fn whoever_goes_away_makes_room_for_the_next_examination() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let served = Served::start(&cluster, JobsConfig::default()).await?;
    let limit = std::time::Duration::from_millis(20);
    let leaving = served.client.get("/cache/doctor");
    ensure!(
        tokio::time::timeout(limit, leaving).await.is_err(),
        "it was too quick"
    );
    tests::until(super::LIMIT, "a place", async || {
        let found = served.client.get("/cache/doctor").await?;
        Ok((found.status == 200).then_some(()))
    })
    .await?;
    served.stop().await
}
