//! Rates from one look to the next, and slow calls without what they were about.

use anyhow::Result;
use cache_admin::Pulse;
use cache_core::Ttl;
use tests::{Cluster, ClusterOptions, ServerOptions, Version};

use super::stack;

#[tokio::test]
async fn two_looks_give_the_rates_between_them_and_a_dead_primary_is_one_that_does_not_answer() -> Result<()>
{
    let node = ServerOptions::new(Version::Valkey8)
        .line("slowlog-log-slower-than 0")
        .line("cluster-require-full-coverage no");
    let cluster = Cluster::start(ClusterOptions::new(3, 0).node(node)).await?;
    let stack = stack(&cluster.addresses(), true).await?;
    let mut pulse = Pulse::of(&stack)?;
    let first = pulse.beat().await?;
    assert_eq!(first.primaries.len(), 3);
    assert!(
        first
            .primaries
            .iter()
            .all(|primary| primary.reachable && primary.main_thread.is_none())
    );
    for number in 0..300 {
        let key = format!("user:secret-name:{number}");
        stack.client.set(&key, "hunter2".into(), Ttl::secs(60)).await?;
        stack.client.get(&key).await?;
        let missing = stack.client.get(&format!("missing:{number}")).await;
        assert!(missing.is_err());
    }
    let second = pulse.beat().await?;
    for primary in &second.primaries {
        assert!(primary.ops_per_second > Some(0), "{primary:?}");
        // Between the looks one read in two hit; since the start it is the same, but for the first look.
        assert!(
            primary.hit_rate.is_some_and(|rate| rate > 0.3 && rate < 0.7),
            "{primary:?}"
        );
        assert!(primary.keys > Some(0) && primary.memory_used > Some(0));
        assert!(primary.main_thread.is_some() && primary.evicted_per_second == Some(0));
    }
    assert!(!second.slow.is_empty());
    let told = serde_json::to_string(&second)?;
    assert!(
        !told.contains("hunter2") && !told.contains("secret-name"),
        "{told}"
    );

    cluster.kill(2)?;
    let third = pulse.beat().await?;
    let silent = third.primaries.iter().filter(|primary| !primary.reachable);
    let silent: Vec<_> = silent.map(|primary| primary.address.as_str()).collect();
    assert_eq!(silent, [cluster.addresses()[2].as_str()]);
    Ok(())
}
