//! Every span of time that the broker knows, in one place, and their compression for trying it out.
//!
//! `--compress 300` turns an hour into 12 seconds: what is said below is divided by 300. Spans that a busy machine
//! needs in any case have a lower limit. Not in here: what the cache may take (`CACHE_*_TIMEOUT`), which is real time.

use std::time::Duration;

/// How long an upstream token is valid, as GitHub's installation tokens are.
const VALIDITY: Duration = Duration::from_secs(60 * 60);

/// How long before its expiry a token is replaced.
const REFRESH_AHEAD: Duration = Duration::from_secs(10 * 60);

/// The least validity that a caller gets: enough to start a job with, and more than clocks differ.
const MIN_VALIDITY: Duration = Duration::from_secs(2 * 60);

/// How long the other processes wait for one that was killed while it minted.
const LEASE: Duration = Duration::from_secs(15);

/// How long no process tries again after the upstream failed.
const FAILURE_HOLD: Duration = Duration::from_secs(60);

/// How long the upstream may take to answer.
const MINT_TIMEOUT: Duration = Duration::from_secs(10);

/// The shortest lease, hold and time limit in real time, however much time is compressed: a process on a busy machine
/// may not run for a second.
const LEAST: Duration = Duration::from_secs(2);

/// The spans of one broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    factor: f64,
}

impl Times {
    /// The largest factor: an hour becomes 12 seconds. Beyond it a lease would outlast the time that is left to refresh a
    /// token in.
    pub(crate) const MAX_FACTOR: f64 = 300.0;

    /// Times that pass `factor` times as fast; out of range it is the nearest factor that can be.
    pub(crate) const fn compressed(factor: f64) -> Self {
        Self {
            factor: factor.clamp(1.0, Self::MAX_FACTOR),
        }
    }

    /// What an hour takes.
    pub(crate) fn hour(self) -> Duration {
        self.scaled(Duration::from_secs(60 * 60))
    }

    pub(crate) fn validity(self) -> Duration {
        self.scaled(VALIDITY)
    }

    pub(crate) fn refresh_ahead(self) -> Duration {
        self.scaled(REFRESH_AHEAD)
    }

    pub(crate) fn min_validity(self) -> Duration {
        self.scaled(MIN_VALIDITY)
    }

    /// How long before its expiry a token leaves the cache: a little more than callers are promised, so that the
    /// promise still holds when the answer is written.
    pub(crate) fn margin(self) -> Duration {
        self.min_validity().mul_f64(1.1)
    }

    pub(crate) fn lease(self) -> Duration {
        self.scaled(LEASE).max(LEAST)
    }

    pub(crate) fn failure_hold(self) -> Duration {
        self.scaled(FAILURE_HOLD).max(LEAST)
    }

    pub(crate) fn mint_timeout(self) -> Duration {
        self.scaled(MINT_TIMEOUT).max(LEAST)
    }

    /// `count` in `span` of real time, as so many in an hour of these times.
    pub(crate) fn per_hour(self, count: u64, span: Duration) -> f64 {
        let hours = span.as_secs_f64() / self.hour().as_secs_f64();
        let count = count as f64;
        if hours > 0.0 { (count / hours).round() } else { 0.0 }
    }

    fn scaled(self, span: Duration) -> Duration {
        span.div_f64(self.factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_shrinks_by_the_same_factor_but_for_what_a_machine_needs() {
        let real = Times::compressed(1.0);
        assert_eq!(real.validity(), VALIDITY);
        assert_eq!(real.failure_hold(), FAILURE_HOLD);
        let fast = Times::compressed(300.0);
        assert_eq!(fast.hour(), Duration::from_secs(12));
        assert_eq!(fast.refresh_ahead(), Duration::from_secs(2));
        assert_eq!(fast.lease(), LEAST);
    }

    #[test]
    fn a_refresh_has_time_before_the_token_expires() {
        for factor in [1.0, 60.0, Times::MAX_FACTOR] {
            let times = Times::compressed(factor);
            let left = times.refresh_ahead() - times.margin();
            assert!(left > times.failure_hold() / 2, "{factor}");
        }
    }

    #[test]
    fn rate_is_of_the_compressed_hour() {
        let times = Times::compressed(300.0);
        let rate = times.per_hour(50, Duration::from_secs(6));
        assert!((rate - 100.0).abs() < 1e-9, "{rate}");
    }
}
