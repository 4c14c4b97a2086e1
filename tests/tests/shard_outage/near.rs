//! The near cache: copies of spared keys stay, and new ones are kept.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cache_core::{CacheClient, Ttl, clock};
use cache_layers::{NearConfig, NearStatus, Tiered};
use tests::until;

use crate::outage::{Blow, LIMIT, Outage, Shard, names};

/// How long reads go on while the primary is away.
const AWAY: Duration = Duration::from_secs(3);

async fn near_hits_go_on(blow: Blow) -> Result<()> {
    let outage = Outage::prepare(blow).await?;
    let tier = Arc::new(Tiered::new(outage.connect().await?, NearConfig::default()));
    let (spared, lost) = (names("near", Shard::Spared, 200), names("near", Shard::Lost, 50));
    for key in spared.iter().chain(&lost) {
        tier.set(key, "1".into(), Ttl::secs(600)).await?;
    }
    until(LIMIT, "all to be kept near", || async {
        for key in spared.iter().chain(&lost) {
            tier.get(key).await?;
        }
        let before = tier.stats().misses;
        for key in spared.iter().chain(&lost) {
            tier.get(key).await?;
        }
        Ok((tier.stats().misses == before && tier.status() == NearStatus::Tracked).then_some(()))
    })
    .await?;

    outage.strike(&*tier).await?;
    // Callers of the lost keys go on, too.
    let others = {
        let (tier, lost) = (Arc::clone(&tier), lost.clone());
        tokio::spawn(async move {
            loop {
                for key in &lost {
                    let _away = tier.get(key).await;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        })
    };
    let begun = clock::now();
    let (mut reads, mut near, mut errors) = (0_u64, 0_u64, Vec::new());
    while begun.elapsed() < AWAY {
        for key in &spared {
            reads += 1;
            // Nobody else has hits: lost keys are not near.
            let before = tier.stats().hits;
            if let Err(error) = tier.get(key).await {
                errors.push(error);
            }
            near += tier.stats().hits - before;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    others.abort();
    assert!(errors.is_empty(), "{:?}", errors.first());
    assert!(near * 100 >= reads * 95, "{near} of {reads} were near");
    if blow == Blow::Killed {
        assert_eq!(tier.status(), NearStatus::PartlyTracked);
    }
    // What is read for the first time while the primary is away is kept, and changes of it are reported.
    let fresh = names("fresh", Shard::Spared, 20);
    let others = outage.connect().await?;
    for key in &fresh {
        others.set(key, "1".into(), Ttl::secs(600)).await?;
        assert_eq!(tier.get(key).await?, "1");
    }
    let before = tier.stats();
    for key in &fresh {
        assert_eq!(tier.get(key).await?, "1");
    }
    let after = tier.stats();
    assert_eq!(after.hits - before.hits, 20, "{before:?} {after:?}");
    for key in &fresh {
        others.set(key, "2".into(), Ttl::secs(600)).await?;
        until(LIMIT, "the change to be seen", || async {
            Ok((tier.get(key).await? == "2").then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn near_hits_of_other_shards_go_on_while_a_primary_is_killed() -> Result<()> {
    near_hits_go_on(Blow::Killed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn near_hits_of_other_shards_go_on_while_a_primary_is_paused() -> Result<()> {
    near_hits_go_on(Blow::Paused).await
}
