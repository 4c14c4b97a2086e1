//! First steps: a client from the environment, and what it does.
//!
//! ```console
//! $ cargo run -p examples --example first-steps
//! ```
//!
//! Without a `CACHE_*` variable the client is the embedded one; with `CACHE_ADDRS` it is a Valkey server, with
//! `CACHE_MODE=cluster` besides, a cluster. The code is the same.

use std::time::Duration;

use cache_core::{CacheClient, CacheClientExt as _, CacheError, Keyspace, Ttl};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Plan {
    name: String,
    seats: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cache = cache_stack::from_env().await?;
    first_steps(&*cache).await?;
    cache.close().await?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example tells what it does")]
async fn first_steps(cache: &dyn CacheClient) -> Result<(), CacheError> {
    // Keys are built, not pasted together: no tenant's name can reach into another's keys.
    let billing = Keyspace::new("first-steps")?.tenant("acme")?;
    let plan_key = billing.key(["plan"]);
    let visits = billing.key(["visits"]);
    cache.del(&[plan_key.as_str(), visits.as_str()]).await?;

    // A miss is an error of its own kind, or `None` where an option reads better.
    assert!(matches!(cache.get(&plan_key).await, Err(CacheError::Miss)));
    assert_eq!(cache.find(&plan_key).await?, None);
    println!("{plan_key} is a miss");

    // Bytes, text or JSON, each with a life of its own.
    let plan = Plan {
        name: "team".to_owned(),
        seats: 12,
    };
    cache.set_json(&plan_key, &plan, Ttl::secs(300)).await?;
    assert_eq!(cache.find_json::<Plan>(&plan_key).await?, Some(plan));
    let left = cache.ttl(&plan_key).await?.as_duration()?;
    println!("{plan_key} is there for {:?}", left.unwrap_or_default());

    // A counter whose window opens with the first call and ends on time.
    let window = Ttl::After(Duration::from_secs(60));
    for _ in 0..3 {
        cache.incr_by(&visits, 1, window).await?;
    }
    println!(
        "{visits} is {}",
        cache.find_string(&visits).await?.unwrap_or_default()
    );

    // Many keys, one round trip per node: values in the order of the keys, `None` for a miss.
    let nobody = billing.key(["nobody"]);
    let values = cache.get_many(&[&plan_key, &nobody, &visits]).await?;
    println!(
        "{} of {} keys were hits",
        values.iter().flatten().count(),
        values.len()
    );

    // One winner, whoever else tries.
    let leader = billing.key(["leader"]);
    let won = cache.set_if_absent(&leader, "me".into(), Ttl::secs(5)).await?;
    let won_again = cache.set_if_absent(&leader, "you".into(), Ttl::secs(5)).await?;
    assert!(won && !won_again);
    assert!(cache.compare_and_delete(&leader, b"me").await?);
    println!("one of two became the leader");

    let removed = cache.del(&[plan_key.as_str(), visits.as_str()]).await?;
    println!("removed {removed} keys");
    Ok(())
}

#[cfg(test)]
mod tests {
    use cache_core::MemoryCache;

    use super::*;

    #[tokio::test]
    async fn the_first_steps_can_be_taken() {
        first_steps(&MemoryCache::default()).await.unwrap();
    }
}
