//! The primary behind sentinels changes: by a crash, on request, and when the old one comes back.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_core::clock;
use cache_core::{CacheClient, Ttl};
use tests::{SentinelOptions, SentinelSet, until};

use crate::load::{Load, Loss};
use crate::setup::{LIMIT, watched, watching};

fn keys(of: &str) -> Vec<String> {
    (0..16).map(|number| format!("{of}:{number}")).collect()
}

/// Writes with the client until it succeeds, and says on which server the value is.
async fn written_to(client: &dyn CacheClient, set: &SentinelSet, value: &str) -> Result<Vec<usize>> {
    until(LIMIT, "a write to succeed", || async {
        Ok(client
            .set("where", value.to_owned().into(), Ttl::Forever)
            .await
            .ok())
    })
    .await?;
    let mut found = Vec::new();
    for (index, server) in set.servers().iter().enumerate() {
        // Only a primary that took the write itself has it for sure; replicas follow a moment later.
        if let Ok(role) = server.call(&["ROLE"]).await
            && role.items().first().is_some_and(|role| role.text() == "master")
            && server.call(&["GET", "where"]).await?.text() == value
        {
            found.push(index);
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_is_replaced_and_its_return_as_a_replica_changes_nothing() -> Result<()> {
    let set = SentinelSet::start(SentinelOptions::new()).await?;
    let deadline = watched(&set.addresses())?.read_timeout;
    let old = set.primary().await?;
    let client: Arc<dyn CacheClient> = watching(&set).await?;
    let load = Load::start(&client, &keys("crash"), Loss::Acknowledged)?;
    load.until_succeeded(500).await?;

    let killed = clock::now();
    let new = set.kill_primary().await?;
    let promoted = killed.elapsed();
    load.until_succeeded(500).await?;
    assert_eq!(written_to(&*client, &set, "after the crash").await?, [new]);
    let report = load.stop().await?;
    println!("promoted after {promoted:?}; {}", report.summary());
    report.check(deadline);

    // The old primary comes back as a primary without data, until the sentinels make it a replica.
    let load = Load::start(&client, &keys("return"), Loss::Nothing)?;
    set.servers()[old].restart().await?;
    until(LIMIT, "the old primary to follow the new one", || async {
        let role = set.servers()[old].call(&["ROLE"]).await?;
        let role = role.items().first().context("no role")?.text();
        Ok((role == "slave").then_some(()))
    })
    .await?;
    load.until_succeeded(500).await?;
    assert_eq!(written_to(&*client, &set, "after the return").await?, [new]);
    let report = load.stop().await?;
    println!("while the old primary came back: {}", report.summary());
    report.check(deadline);
    assert_eq!(report.failures().count(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_on_request_under_load_is_followed_without_a_restart() -> Result<()> {
    let set = SentinelSet::start(SentinelOptions::new()).await?;
    let deadline = watched(&set.addresses())?.read_timeout;
    let client: Arc<dyn CacheClient> = watching(&set).await?;
    let load = Load::start(&client, &keys("request"), Loss::Acknowledged)?;
    load.until_succeeded(500).await?;
    let new = set.failover().await?;
    // The old primary takes writes until it is told, a moment after the sentinels agreed; then nobody
    // but the new one does.
    let agreed = clock::now();
    until(LIMIT, "writes to arrive at the new primary", || async {
        let written = written_to(&*client, &set, "after the failover").await?;
        Ok((written == [new]).then_some(()))
    })
    .await?;
    let followed = agreed.elapsed();
    load.until_succeeded(500).await?;
    let report = load.stop().await?;
    println!(
        "writes arrived {followed:?} after the sentinels had agreed; {}",
        report.summary()
    );
    // The sentinels end the failover about a second later: the client is not to wait for that.
    assert!(
        followed < Duration::from_millis(500) + report.slack(),
        "{followed:?}"
    );
    report.check(deadline);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_primary_that_goes_on_after_its_replacement_gets_no_more_writes() -> Result<()> {
    let set = SentinelSet::start(SentinelOptions::new()).await?;
    let old = set.primary().await?;
    let client: Arc<dyn CacheClient> = watching(&set).await?;
    set.servers()[old].pause()?;
    let new = until(LIMIT, "another primary", || async {
        // A paused server is asked by the test as little as by the sentinels.
        let reply = set.sentinels()[0]
            .call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "cache"])
            .await?;
        let port = reply.items().get(1).map(tests::Reply::text).unwrap_or_default();
        let named = set
            .servers()
            .iter()
            .position(|server| server.port().to_string() == port);
        Ok(named.filter(|named| *named != old))
    })
    .await?;
    until(LIMIT, "the client to follow", || async {
        Ok(client.set("where", "meanwhile".into(), Ttl::Forever).await.ok())
    })
    .await?;
    let before = set.servers()[new].info("total_commands_processed").await?;
    set.servers()[old].resume()?;
    // It holds itself for a primary for a moment: what is written now must not go there.
    for number in 0..500 {
        client
            .set("where", format!("{number}").into(), Ttl::Forever)
            .await?;
    }
    assert_eq!(set.servers()[new].call(&["GET", "where"]).await?.text(), "499");
    println!("{before} commands on the new primary before the old one went on");
    Ok(())
}
