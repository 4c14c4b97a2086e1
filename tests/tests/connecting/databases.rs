//! Clusters with several databases, and such as have one.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use cache_admin::{Engine, Options};
use cache_core::config::{Topology, ValkeyConfig};
use cache_core::{CacheClient as _, CacheError, Pattern, Ttl};
use cache_stack::Foundation;
use cache_valkey::ValkeyClient;
use tests::{Cluster, ClusterOptions, ServerOptions, Version};

use crate::address;

const KEYS: u64 = 30;

fn config(cluster: &Cluster, db: u32) -> Result<ValkeyConfig> {
    let seed = address(&cluster.node(0).address())?;
    Ok(ValkeyConfig::new(Topology::cluster([seed]).with_db(db)))
}

async fn filled(cluster: &Cluster, db: u32) -> Result<Arc<ValkeyClient>> {
    let client = Arc::new(ValkeyClient::connect(&config(cluster, db)?).await?);
    for index in 0..KEYS {
        client
            .set(&format!("key:{index}"), db.to_string().into(), Ttl::Forever)
            .await?;
    }
    Ok(client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_and_a_purge_keep_to_their_database_of_a_cluster() -> Result<()> {
    let node = ServerOptions::new(Version::Valkey9).line("cluster-databases 4");
    let cluster = Cluster::start(ClusterOptions::new(3, 0).node(node)).await?;
    let (zero, two) = (filled(&cluster, 0).await?, filled(&cluster, 2).await?);
    assert_eq!(
        (zero.get("key:7").await?, two.get("key:7").await?),
        ("0".into(), "2".into())
    );
    let report = Engine::of(&Foundation::Valkey(Arc::clone(&two)))?
        .invalidate(Pattern::new("key:*")?, &Options::default())
        .await;
    assert_eq!(report.total().removed, KEYS, "{report:?}");
    assert_eq!(two.get("key:7").await.unwrap_err().kind(), "miss");
    for index in 0..KEYS {
        assert_eq!(zero.get(&format!("key:{index}")).await?, "0");
    }
    let error = ValkeyClient::connect(&config(&cluster, 7)?)
        .await
        .err()
        .context("there is no database 7")?;
    assert!(matches!(error, CacheError::Config(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains("CACHE_DB: the server has no database 7"),
        "{error}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_one_database_says_so() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(1, 0)).await?;
    let error = ValkeyClient::connect(&config(&cluster, 2)?)
        .await
        .err()
        .context("there is one database")?;
    assert!(matches!(error, CacheError::Config(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains("CACHE_DB: the servers of this cluster have one database only"),
        "{error}"
    );
    ValkeyClient::connect(&config(&cluster, 0)?).await?;
    Ok(())
}
