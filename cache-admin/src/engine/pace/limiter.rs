//! How many keys a run looks at in a second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cache_core::clock::{self, Instant};

/// Lets a run look at so many keys in a second and no more, on all primaries together.
#[derive(Debug)]
pub(in crate::engine) struct Limiter {
    limit: Option<u32>,
    /// When the next call may begin.
    free: Mutex<Option<Instant>>,
}

impl Limiter {
    pub(in crate::engine) const fn new(limit: Option<u32>) -> Self {
        Self {
            limit,
            free: Mutex::new(None),
        }
    }

    /// Of `wanted` keys, how many to ask for in one call: a tenth of a second's worth at most.
    pub(in crate::engine) fn share(&self, wanted: u32) -> u32 {
        self.limit.map_or(wanted, |limit| wanted.min((limit / 10).max(1)))
    }

    /// Waits for the turn of a call that looks at so many.
    pub(in crate::engine) async fn turn(&self, keys: u32) {
        if let Some(at) = self.reserve(keys, clock::now()) {
            tokio::time::sleep_until(at).await;
        }
    }

    fn reserve(&self, keys: u32, now: Instant) -> Option<Instant> {
        let limit = self.limit?;
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let at = free.map_or(now, |free| free.max(now));
        *free = Some(at + Duration::from_secs(1).mul_f64(f64::from(keys) / f64::from(limit)));
        (at > now).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_limit_holds_for_all_together() {
        let limiter = Limiter::new(Some(1_000));
        assert_eq!(limiter.share(1_000), 100);
        let began = clock::now();
        let calls = (0..30).map(|_| limiter.turn(100));
        futures::future::join_all(calls).await;
        // The last of 30 begins when 29 are through.
        let took = clock::now() - began;
        assert!((2_900..2_910).contains(&took.as_millis()), "{took:?}");
        assert_eq!(Limiter::new(None).share(1_000), 1_000);
    }
}
