//! A primary that stops in the middle of a removal, and is not replaced.

use std::time::Duration;

use anyhow::{Result, ensure};
use cache_admin::{GapReason, Options, Outcome};
use tests::{Cluster, ClusterOptions, ServerOptions, Version};

use super::{after, engine, fill, pattern, size};

#[tokio::test]
async fn a_primary_that_dies_half_way_is_partial_with_its_slots() -> Result<()> {
    for version in [Version::Valkey8, Version::Valkey9] {
        let node = ServerOptions::new(version).line("cluster-require-full-coverage no");
        let cluster = Cluster::start(ClusterOptions::new(3, 0).node(node)).await?;
        let (client, engine) = engine(&cluster.addresses(), true).await?;
        fill(&client, (0..size()).map(|number| format!("doomed:{number}"))).await?;
        let before = cluster.keys().await?;

        let (reached, observer) = after(size() / 20);
        let options = Options::default()
            .with_page_size(100)
            .with_patience(Duration::from_secs(3))
            .with_observer(observer);
        let pattern = pattern("doomed:*")?;
        let kill = async {
            reached.notified().await;
            let left = cluster.node(1).call(&["DBSIZE"]).await?.integer();
            cluster.kill(1)?;
            Ok::<_, anyhow::Error>(left)
        };
        let (report, killed) = tokio::join!(engine.invalidate(&pattern, &options), kill);
        ensure!(killed? > Some(0), "it was over before: {report:?}");
        let Outcome::Partial { gaps } = &report.outcome else {
            anyhow::bail!("{version:?}: {report:?}")
        };
        let address = cluster.node(1).address();
        let failed = gaps
            .iter()
            .filter(|gap| matches!(gap.reason, GapReason::Failed(_)) || gap.primary.is_none());
        let slots: Vec<String> = failed
            .filter_map(|gap| gap.slots.as_ref().map(ToString::to_string))
            .collect();
        ensure!(slots == ["5461-10921"], "{gaps:?}");
        ensure!(report.total().removed <= before);
        let dead = report
            .primaries
            .iter()
            .find(|primary| *primary.address == *address);
        ensure!(dead.is_some_and(|dead| dead.error.is_some()), "{report:?}");
        for index in [0, 2] {
            ensure!(cluster.node(index).call(&["DBSIZE"]).await?.integer() == Some(0));
        }
    }
    Ok(())
}
