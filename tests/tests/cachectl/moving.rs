//! Removals while the cluster changes under them.

use anyhow::{Result, ensure};
use cache_core::slot::slot_of;
use tests::{Cluster, ClusterOptions, until};

use super::{LIMIT, cachectl, fill, sizes};

#[tokio::test]
async fn slots_that_move_during_the_purge_are_not_missed() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let addresses = cluster.addresses();
    fill(&addresses, (0..60_000).map(|number| format!("k:{number}"))).await?;
    let tags: Vec<String> = (0..12).map(|number| format!("mover{number}")).collect();
    for tag in &tags {
        fill(&addresses, (0..100).map(|number| format!("k:{{{tag}}}:{number}"))).await?;
    }

    let purge = cachectl("cluster", &addresses, &[b"invalidate", b"k:*", b"--json"]);
    let moving = async {
        for tag in &tags {
            let slot = slot_of(tag.as_bytes());
            let from = cluster.primary_of(slot).await?;
            cluster.move_slot(slot, from, (from + 1) % 3).await?;
        }
        Ok::<(), anyhow::Error>(())
    };
    let (ran, moved) = tokio::join!(purge, moving);
    moved?;
    let ran = ran?;
    let report = ran.json()?;
    assert_eq!(report["outcome"], "complete", "{report}");
    assert_eq!(sizes(&cluster).await?.iter().sum::<i64>(), 0, "{report}");
    Ok(())
}

#[tokio::test]
async fn a_slot_whose_handover_stands_still_is_purged_on_both_sides() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let addresses = cluster.addresses();
    let slot = slot_of(b"mover");
    fill(&addresses, (0..200).map(|number| format!("k:{{mover}}:{number}"))).await?;
    let from = cluster.primary_of(slot).await?;
    let to = (from + 1) % 3;
    cluster.begin_move(slot, from, to).await?;
    cluster.migrate_keys(slot, from, to, 80).await?;
    ensure!(
        sizes(&cluster).await?.iter().filter(|size| **size > 0).count() == 2,
        "the keys are on both sides"
    );

    let ran = cachectl("cluster", &addresses, &[b"invalidate", b"k:{mover}:*", b"--json"]).await?;
    let report = ran.json()?;
    assert_eq!(report["outcome"], "complete", "{report}");
    assert_eq!(report["removed"], 200, "{report}");
    assert_eq!(sizes(&cluster).await?.iter().sum::<i64>(), 0);
    Ok(())
}

#[tokio::test]
async fn a_failover_during_the_purge_is_survived() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 1)).await?;
    let addresses = cluster.addresses();
    fill(&addresses, (0..60_000).map(|number| format!("k:{number}"))).await?;
    let replicas = cluster.replicas_of(0).await?;
    let purge = cachectl("cluster", &addresses, &[b"invalidate", b"k:*", b"--json"]);
    let (ran, failed_over) = tokio::join!(purge, cluster.failover(replicas[0]));
    failed_over?;
    let ran = ran?;
    let report = ran.json()?;
    assert_eq!(report["outcome"], "complete", "{report}");
    until(LIMIT, "all keys to be gone, replicas included", || async {
        Ok((sizes(&cluster).await?.iter().sum::<i64>() == 0).then_some(()))
    })
    .await
}
