//! `cachectl migrate check --connect`: what a running server, and a cluster, say about the move.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version};
use tokio::process::Command;

/// The answer for a service that has `REDIS_URL` alone.
async fn check(url: &str) -> Result<(i32, Value, String)> {
    let output = Command::new(tests::cachectl().await?)
        .args(["migrate", "check", "--connect", "--json"])
        .env_clear()
        .env("REDIS_URL", url)
        .stdin(Stdio::null())
        .output()
        .await?;
    let code = output.status.code().context("ended by a signal")?;
    let said = format!(
        "{}{}",
        String::from_utf8(output.stdout.clone())?,
        String::from_utf8(output.stderr)?
    );
    let answer = serde_json::from_slice(&output.stdout).with_context(|| said.clone())?;
    Ok((code, answer, said))
}

fn has_note(answer: &Value, kind: &str, about: &str) -> bool {
    let notes = answer["notes"].as_array().map(Vec::as_slice).unwrap_or_default();
    notes
        .iter()
        .any(|note| note["kind"] == kind && note["about"] == about)
}

#[tokio::test]
async fn running_server_is_read_for_commands_types_ttls_names_and_eviction() -> Result<()> {
    const PASSWORD: &str = "pw-6d02a9f1c4";
    const VALUE: &str = "a-value-of-the-service";
    let user = format!("app on >{PASSWORD} ~* +@all");
    let server = Server::start(ServerOptions::new(Version::Valkey8).user(&user)).await?;
    for call in [
        &["SET", "user/1", VALUE][..],
        &["SET", "User:1", VALUE, "EX", "600"],
        &["HSET", "cart:1", "item", VALUE],
        &["MGET", "user/1", "User:1"],
        &["SUNION", "none", "nothing"],
        &["CONFIG", "SET", "maxmemory", "64mb"],
        &["CONFIG", "SET", "maxmemory-policy", "noeviction"],
    ] {
        server.call(call).await?;
    }
    let (code, answer, said) = check(&format!("redis://app:{PASSWORD}@{}", server.address())).await?;
    ensure!(code == 0 && answer["accepted"] == true, "{said}");
    ensure!(!said.contains(PASSWORD) && !said.contains(VALUE), "{said}");
    let seen = &answer["server"];
    ensure!(seen["primaries"] == 1 && seen["cluster"] == false, "{seen}");
    ensure!(
        seen["types"]["hash"] == 1 && seen["types"]["string"] == 2,
        "{seen}"
    );
    ensure!(seen["without_ttl"] == 2, "{seen}");
    for (kind, about) in [
        ("types", "hash"),
        ("ttl", "keys"),
        ("cross-slot", "SUNION"),
        ("eviction", "noeviction"),
    ] {
        ensure!(has_note(&answer, kind, about), "no {kind} about {about}: {said}");
    }
    ensure!(
        !has_note(&answer, "cross-slot", "MGET"),
        "a client splits it: {said}"
    );
    let is_collision = has_note(&answer, "names", "user/1") || has_note(&answer, "names", "User:1");
    ensure!(is_collision, "{said}");
    Ok(())
}

#[tokio::test]
async fn cluster_behind_a_single_address_gives_its_mode() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let node = cluster.node(0);
    let refused = node.call(&["MSET", "a", "1", "b", "2", "c", "3"]).await;
    ensure!(format!("{refused:?}").contains("CROSSSLOT"), "{refused:?}");
    let (code, answer, said) = check(&format!("redis://{}", node.address())).await?;
    ensure!(code == 0 && answer["accepted"] == true, "{said}");
    let settings = answer["settings"].as_array().context("settings")?;
    let mode = settings.iter().find(|setting| setting["name"] == "CACHE_MODE");
    ensure!(mode.is_some_and(|mode| mode["value"] == "cluster"), "{said}");
    let seen = &answer["server"];
    ensure!(seen["primaries"] == 3 && seen["cluster"] == true, "{seen}");
    ensure!(has_note(&answer, "cross-slot", "CROSSSLOT"), "{said}");
    Ok(())
}

#[tokio::test]
async fn server_that_cannot_be_reached_is_an_error_beside_the_settings() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let url = format!("redis://{}", server.address());
    drop(server);
    let (code, answer, said) = check(&url).await?;
    ensure!(code == 4 && answer["accepted"] == true, "{code}: {said}");
    Ok(())
}
