//! Locks, limits, generations and idempotency: subjects of spared shards work as before.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cache_core::Keyspace;
use cache_layers::idempotency::{Acquired, Fingerprint};
use cache_layers::rate_limiter::OnError;
use cache_layers::{
    Generations, GenerationsConfig, Idempotency, IdempotencyConfig, Lock, LockConfig, Quota, RateLimiter,
    RateLimiterConfig,
};

use crate::outage::{Blow, Outage, Shard, names, shard_of};

const QUOTA: Quota = Quota::fixed(1_000, Duration::from_secs(3_600));

async fn spared_subjects_work(blow: Blow) -> Result<()> {
    let outage = Outage::prepare(blow).await?;
    let client = outage.connect().await?;
    outage.strike(&*client).await?;
    // Made now: nothing was read from the cache before.
    let lock = Lock::new(Arc::clone(&client), LockConfig::default());
    let limits = RateLimiterConfig::builder()
        .on_error(OnError::Fail)
        .deadline(Duration::from_secs(3));
    let limiter = RateLimiter::new(Arc::clone(&client), limits.build()?);
    // The clock of one that reads it from the primary that is away, whichever that is.
    let lost_clock = &names("#clock", Shard::Lost, 1)[0];
    let limits = RateLimiterConfig::builder()
        .on_error(OnError::Fail)
        .clock_key(lost_clock.as_str())
        .deadline(Duration::from_secs(3));
    let without_clock = RateLimiter::new(Arc::clone(&client), limits.build()?);
    for key in names("subject", Shard::Spared, 50) {
        let fence = lock.run(&key, Duration::from_secs(5), std::future::ready).await?;
        assert!(fence.get() > 0);
        for limiter in [&limiter, &without_clock] {
            let decision = limiter.check(&key, &QUOTA).await?;
            assert!(decision.allowed && decision.counted, "{key}");
        }
    }
    let tenants = (0..).map(|number| format!("tenant-{number}"));
    let tenants = tenants.filter(|tenant| shard_of(&format!("{{{tenant}}}")) == Shard::Spared);
    let settings = GenerationsConfig::builder().deadline(Duration::from_secs(3));
    let generations = Generations::new(Arc::clone(&client), settings.build()?);
    for tenant in tenants.take(20) {
        let keys = Keyspace::new("billing")?.tenant(&tenant)?;
        let current = generations.current(&keys).await?;
        assert!(generations.bump(&keys).await? != current);
        let payments = Idempotency::new(Arc::clone(&client), keys, IdempotencyConfig::default());
        let request = Fingerprint::of(["charge", "700"]);
        let Acquired::Run(claim) = payments.acquire("", "8e03978e", request).await? else {
            anyhow::bail!("{tenant} has asked before");
        };
        claim.complete("charged").await?;
        let again = payments.acquire("", "8e03978e", request).await?;
        assert!(matches!(again, Acquired::Replay(_)), "{again:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recipes_of_other_shards_work_while_a_primary_is_killed() -> Result<()> {
    spared_subjects_work(Blow::Killed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recipes_of_other_shards_work_while_a_primary_is_paused() -> Result<()> {
    spared_subjects_work(Blow::Paused).await
}
