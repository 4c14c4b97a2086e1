//! Estimates and filters where real servers draw and describe the keys.

use std::time::Duration;

use anyhow::{Result, ensure};
use cache_admin::{KeyType, Life, Method, Options, Outcome, Selection};
use cache_core::slot::slot_of;
use tests::{Cluster, ClusterOptions, ServerOptions, Version};

use super::{engine, fill, pattern, size};

/// How often a range may be wrong: each holds 95 times in 100.
const TRIES: u32 = 10;

#[tokio::test]
async fn the_range_of_an_estimate_holds_and_few_keys_are_looked_at() -> Result<()> {
    for version in [Version::Valkey8, Version::Valkey9] {
        let cluster = Cluster::start(ClusterOptions::new(3, 0).node(ServerOptions::new(version))).await?;
        let (client, engine) = engine(&cluster.addresses(), true).await?;
        let (doomed, kept) = (size() / 4, size() / 2);
        fill(&client, (0..kept).map(|number| format!("kept:{number}"))).await?;
        // Half of them in one slot, which a look at some slots would hardly ever meet.
        fill(&client, (0..doomed / 2).map(|number| format!("doomed:{number}"))).await?;
        fill(
            &client,
            (doomed / 2..doomed).map(|number| format!("doomed:{{t}}:{number}")),
        )
        .await?;
        let mut held = 0;
        for _ in 0..TRIES {
            let estimate = engine
                .estimate(pattern("doomed:*")?, 1_000, &Options::default())
                .await?;
            ensure!(estimate.keys == doomed + kept, "{estimate:?}");
            let Method::Drawn { keys, .. } = estimate.method else {
                anyhow::bail!("{estimate:?}")
            };
            ensure!((990..=1_000).contains(&keys), "{estimate:?}");
            let width = estimate.range.end() - estimate.range.start();
            ensure!(width < (doomed + kept) / 14, "{estimate:?}");
            held += u32::from(estimate.range.contains(&doomed));
        }
        ensure!(
            held * 10 >= TRIES * 6,
            "{version:?}: {held} of {TRIES} ranges hold"
        );
        let pinned = engine
            .estimate(pattern("doomed:{t}:*")?, 10, &Options::default())
            .await?;
        ensure!(
            pinned.method == Method::Counted && pinned.matched == doomed - doomed / 2,
            "{pinned:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn filters_leave_what_does_not_pass() -> Result<()> {
    let cluster =
        Cluster::start(ClusterOptions::new(3, 0).node(ServerOptions::new(Version::Valkey8))).await?;
    let (client, engine) = engine(&cluster.addresses(), true).await?;
    fill(&client, (0..300).map(|number| format!("k:{number}"))).await?;
    let owner = cluster.primary_of(slot_of(b"h")).await?;
    for number in 0..30 {
        let node = cluster.node(owner);
        node.call(&["HSET", &format!("k:{{h}}:{number}"), "f", "v"])
            .await?;
        node.call(&["SET", &format!("k:{{h}}:big:{number}"), &"x".repeat(20_000)])
            .await?;
        node.call(&["SET", &format!("k:{{h}}:short:{number}"), "v", "EX", "60"])
            .await?;
    }
    let all = || pattern("k:*").map(Selection::new);
    for (selection, removed) in [
        (all()?.with_types([KeyType::Hash]), 30),
        (all()?.with_size(10_001..=u64::MAX), 30),
        (
            all()?.with_life(Life::Within(Duration::ZERO..=Duration::from_secs(90))),
            30,
        ),
        (all()?.with_idle(Duration::from_secs(86_400)), 0),
        (
            all()?
                .with_types([KeyType::String, KeyType::Hash])
                .with_life(Life::Forever),
            300,
        ),
    ] {
        let report = engine.invalidate(&selection, &Options::default()).await;
        ensure!(matches!(report.outcome, Outcome::Complete), "{report:?}");
        ensure!(report.total().removed == removed, "{selection:?}: {report:?}");
    }
    Ok(())
}
