//! A step to a new generation on a cluster, and what a purge gives back.

use anyhow::Result;
use cache_admin::{Engine, Namespaces, Options, Outcome, ValkeyKeys, namespace};
use cache_core::{Pattern, Ttl};
use cache_stack::Foundation;
use tests::{Cluster, ClusterOptions};

use super::stack;

#[tokio::test]
async fn after_a_bump_the_pattern_it_names_reclaims_the_old_keys_and_no_others() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let stack = stack(&cluster.addresses(), true).await?;
    let namespaces = Namespaces::new(&stack);
    let billing = namespace("billing/@acme")?;
    let first = namespaces.bump(&billing).await?;
    let store = async |generation: u64, count: usize| -> Result<()> {
        for number in 0..count {
            let key = billing.generation(generation).key([number.to_string()]);
            stack.client.set(&key, "value".into(), Ttl::secs(600)).await?;
        }
        Ok(())
    };
    store(first.generation, 50).await?;
    let second = namespaces.bump(&billing).await?;
    store(second.generation, 20).await?;
    assert_eq!(second.previous, first.generation);

    let options = Options::default();
    let found = namespaces.reclaimable(&second.reclaim, &options).await?;
    assert_eq!((found.keys, found.complete), (50, true));
    let Foundation::Valkey(client) = &stack.foundation else {
        anyhow::bail!("no servers");
    };
    let engine = Engine::new(ValkeyKeys::new(client));
    let report = engine.invalidate(&Pattern::new(second.reclaim)?, &options).await;
    assert!(matches!(report.outcome, Outcome::Complete));
    assert_eq!(report.total().removed, 50);
    // The new ones, and the counter.
    assert_eq!(engine.key_count().await?, 21);
    assert_eq!(
        namespaces.show(&billing).await?.generation,
        Some(second.generation)
    );
    Ok(())
}
