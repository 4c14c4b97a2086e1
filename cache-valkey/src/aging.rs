//! Decides when a connection is old enough to be replaced, and how often a replacement is attempted.
//!
//! Not in here: how a connection is replaced. That differs between a node's shared connections
//! (`node/replace.rs`), the admin pool and the connection to a sentinel.

use std::time::Duration;

use cache_core::clock::{self, Instant};
use rand::Rng;

use crate::backoff::Backoff;

/// The shortest time between two dials to one server that only replace an old connection.
const SPACING: Duration = Duration::from_secs(1);

/// The random part of the maximum age, so that the connections of a client, and the clients of a fleet, do
/// not all reconnect at once.
const JITTER: f64 = 0.1;

/// When a connection opened now must be replaced: after 90 % to 100 % of `maximum`. `None` if it never must.
pub(crate) fn retirement(maximum: Option<Duration>) -> Option<Instant> {
    let maximum = maximum?;
    let jitter = maximum.mul_f64(JITTER * rand::rng().random::<f64>());
    // An age beyond what the clock can express is never reached.
    clock::now().checked_add(maximum.saturating_sub(jitter))
}

/// Limits replacement attempts: at most one per second, and fewer while they fail.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    failures: u32,
    not_before: Option<Instant>,
}

impl Pace {
    /// Whether the next attempt may begin.
    fn is_ready(&self) -> bool {
        self.not_before.is_none_or(|at| clock::now() >= at)
    }

    /// Begins an attempt if one may begin now.
    pub(crate) fn begin_if_ready(&mut self) -> bool {
        let is_ready = self.is_ready();
        if is_ready {
            self.not_before = Some(clock::now() + SPACING);
        }
        is_ready
    }

    /// Notes that the attempt opened a connection.
    pub(crate) const fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Notes that the attempt failed. Returns whether it is the first failure in a row.
    pub(crate) fn failed(&mut self) -> bool {
        let at = clock::now() + Backoff::REPLACE.delay(self.failures);
        self.not_before = Some(self.not_before.map_or(at, |before| before.max(at)));
        self.failures = self.failures.saturating_add(1);
        self.failures == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connections_retire_in_the_last_tenth_of_the_maximum_age() {
        let maximum = Duration::from_secs(1_000);
        let ages: Vec<_> = (0..200)
            .filter_map(|_| retirement(Some(maximum)))
            .map(|at| at.saturating_duration_since(clock::now()))
            .collect();
        assert_eq!(ages.len(), 200);
        assert!(ages.iter().all(|age| (900..=1_000).contains(&age.as_secs())));
        let (least, most) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
        assert!(*most - *least > Duration::from_secs(50), "{least:?} to {most:?}");
        assert_eq!(retirement(None), None);
        assert_eq!(retirement(Some(Duration::MAX)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn replacements_are_a_second_apart_and_back_off_on_failure() {
        let mut pace = Pace::default();
        assert!(pace.is_ready());
        assert!(pace.begin_if_ready());
        pace.succeeded();
        tokio::time::advance(SPACING - Duration::from_millis(1)).await;
        assert!(!pace.is_ready());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(pace.is_ready());
        let started = clock::now();
        for tried in 0..10 {
            assert!(pace.begin_if_ready());
            assert_eq!(pace.failed(), tried == 0);
            while !pace.is_ready() {
                tokio::time::advance(Duration::from_millis(100)).await;
            }
        }
        let took = started.elapsed();
        assert!(took > Duration::from_secs(60), "{took:?}");
        assert!(took < Duration::from_secs(300), "{took:?}");
    }
}
