//! Limits how often a refusal may lead to another fetch.
//!
//! Not in here: the fetch.

use std::time::Duration;

use cache_core::clock::{self, Instant};

/// Well below the second that calls wait for a connection, so that waiting for the next fetch fails no call.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(60);

/// Allows one fetch at once, the next after a quarter of a second, and fewer, down to one per minute, while
/// none returns anything new.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// How many fetches in a row returned nothing new.
    in_vain: u32,
    not_before: Option<Instant>,
}

impl Pace {
    /// How long it takes until a fetch may begin.
    pub(crate) fn ready_in(&self) -> Duration {
        self.not_before
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(clock::now()))
    }

    /// Whether a fetch may begin; if so, it counts as begun.
    pub(crate) fn begin_if_ready(&mut self) -> bool {
        let now = clock::now();
        if !self.ready_in().is_zero() {
            return false;
        }
        let wait = FIRST.saturating_mul(1 << self.in_vain.min(8)).min(LONGEST);
        self.in_vain = self.in_vain.saturating_add(1);
        self.not_before = Some(now + wait);
        true
    }

    /// Records that the last fetch returned something new.
    #[cfg(feature = "secret")]
    pub(crate) fn brought_news(&mut self) {
        self.in_vain = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many fetches begin within `time` if asked ten times a second.
    async fn begun_within(pace: &mut Pace, time: Duration) -> u32 {
        let end = clock::now() + time;
        let mut begun = 0;
        while clock::now() < end {
            begun += u32::from(pace.begin_if_ready());
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        begun
    }

    #[tokio::test(start_paused = true)]
    async fn useless_fetches_become_rare() {
        let mut pace = Pace::default();
        assert!(pace.begin_if_ready());
        assert!(!pace.begin_if_ready());
        let begun = begun_within(&mut pace, Duration::from_secs(3_600)).await;
        assert!((60..=75).contains(&begun), "{begun}");
    }

    #[cfg(feature = "secret")]
    #[tokio::test(start_paused = true)]
    async fn new_value_makes_the_next_fetch_quick() {
        let mut pace = Pace::default();
        begun_within(&mut pace, Duration::from_secs(3_600)).await;
        pace.brought_news();
        tokio::time::advance(LONGEST).await;
        assert!(pace.begin_if_ready());
        tokio::time::advance(FIRST).await;
        assert!(pace.begin_if_ready());
    }
}
