//! Computes retry delays: exponential, jittered and capped.
//!
//! "Equal jitter": half of the delay is fixed and half is random, so that a fleet that lost the same server
//! does not retry in step (Brooker, "Exponential Backoff and Jitter", 2015).

use std::time::Duration;

use rand::Rng;

/// A series of growing delays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
}

impl Backoff {
    /// Between the attempts of one call.
    pub(crate) const CALL: Self = Self {
        base: Duration::from_millis(8),
        cap: Duration::from_millis(256),
    };

    /// Between attempts to connect to a server that is down. The cap bounds how long it takes to notice that
    /// the server is back.
    pub(crate) const CONNECT: Self = Self {
        base: Duration::from_millis(20),
        cap: Duration::from_millis(1_000),
    };

    /// Between attempts to replace a connection that is old but still works. The cap bounds how long the old
    /// one stays after the server accepts connections again.
    pub(crate) const REPLACE: Self = Self {
        base: Duration::from_secs(2),
        cap: Duration::from_secs(30),
    };

    /// The delay before retry number `attempt`, counted from 0.
    pub(crate) fn delay(&self, attempt: u32) -> Duration {
        let step = self.base.saturating_mul(1 << attempt.min(16)).min(self.cap);
        step / 2 + (step / 2).mul_f64(rand::rng().random::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_up_to_the_cap() {
        let backoff = Backoff {
            base: Duration::from_millis(10),
            cap: Duration::from_millis(100),
        };
        for attempt in 0..80 {
            let step = Duration::from_millis(10)
                .saturating_mul(1 << attempt.min(10))
                .min(backoff.cap);
            for _ in 0..20 {
                let delay = backoff.delay(attempt);
                assert!(delay >= step / 2 && delay <= step, "attempt {attempt}: {delay:?}");
            }
        }
    }
}
