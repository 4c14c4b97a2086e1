//! Processes on one cache, and a time of day that goes with virtual time.

use std::sync::Arc;
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheClientExt, MemoryCache};
use cache_layers::rate_limiter::{OnError, RateLimiterConfigBuilder};
use cache_layers::{Decision, Quota, RateLimiter, RateLimiterConfig, WallClock};
use cache_mock::{Faults, FaultyCache};

pub(crate) const SUBJECT: &str = "api:{acme}";
pub(crate) const MINUTE: Duration = secs(60);
/// A midnight.
pub(crate) const EPOCH: Duration = secs(1_699_920_000);

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A time of day that goes with virtual time, and began at [`EPOCH`] or that much later.
#[derive(Debug)]
pub(crate) struct VirtualClock {
    begun: Instant,
    pub(crate) ahead: Duration,
}

impl WallClock for VirtualClock {
    fn since_epoch(&self) -> Duration {
        EPOCH + self.ahead + (clock::now() - self.begun)
    }
}

/// One cache, whose windows of a minute begin when this is made.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) memory: Arc<MemoryCache>,
    begun: Instant,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self {
            memory: Arc::new(MemoryCache::default()),
            begun: clock::now(),
        }
    }

    /// What the tests start from: an error is an error, and every denial asks the cache.
    pub(crate) fn config(&self, ahead: Duration) -> RateLimiterConfigBuilder {
        let begun = self.begun;
        RateLimiterConfig::builder()
            .clock(Arc::new(VirtualClock { begun, ahead }))
            .on_error(OnError::Fail)
            .denial_memory(Duration::ZERO)
    }

    /// A process.
    pub(crate) fn process(&self) -> RateLimiter {
        let config = self.config(Duration::ZERO).build().unwrap();
        RateLimiter::new(self.memory.clone(), config)
    }

    /// A process whose own way to the cache can be broken.
    pub(crate) fn faulty(&self) -> (RateLimiter, Faults) {
        self.faulty_with(|config| config)
    }

    /// Such a process that is configured otherwise.
    pub(crate) fn faulty_with(
        &self,
        change: impl FnOnce(RateLimiterConfigBuilder) -> RateLimiterConfigBuilder,
    ) -> (RateLimiter, Faults) {
        let cache = FaultyCache::new(self.memory.clone());
        let faults = cache.faults().clone();
        let config = change(self.config(Duration::ZERO)).build().unwrap();
        (RateLimiter::new(Arc::new(cache), config), faults)
    }

    /// What stands in the counter of the minute that is `minutes` after the first.
    pub(crate) async fn counter(&self, minutes: u64) -> Option<i64> {
        let index = EPOCH.as_secs() / 60 + minutes;
        let key = format!("{SUBJECT}:#limit:60000:{index}");
        let text = self.memory.find_string(&key).await.unwrap();
        text.map(|text| text.parse().unwrap())
    }
}

/// As many calls as are allowed, one after the other, until one is not.
pub(crate) async fn used_up(limiter: &RateLimiter, quota: &Quota) -> u64 {
    let mut allowed = 0;
    while limiter.check(SUBJECT, quota).await.unwrap().allowed {
        allowed += 1;
    }
    allowed
}

pub(crate) async fn check(limiter: &RateLimiter, quota: &Quota, cost: u64) -> Decision {
    limiter.check_cost(SUBJECT, quota, cost).await.unwrap()
}
