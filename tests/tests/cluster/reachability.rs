//! What is said of a cluster as a whole while a part of it is away.

use anyhow::Result;
use cache_core::CacheClient as _;
use tests::{Cluster, ClusterOptions, until};

use crate::{LIMIT, connect};

/// Scenario 19: a primary without a replica hangs; nobody takes its slots over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ping_fails_while_any_primary_in_use_is_gone() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let client = connect(cluster.node(0)).await?;
    for away in 0..3 {
        client.ping().await?;
        cluster.pause(away)?;
        let error = client
            .ping()
            .await
            .expect_err("a ping of a cluster without one of its primaries");
        assert!(error.is_transient(), "{error}");
        cluster.resume(away)?;
        until(LIMIT, "ping to succeed again", || async {
            Ok(client.ping().await.ok())
        })
        .await?;
    }
    Ok(())
}
