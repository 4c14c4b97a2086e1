//! How many keys one call may look at, so that it does not hold up the server for long.
//!
//! A server answers nobody else while it looks at the keys of a page. How long that takes depends on their names and on the
//! pattern. Not in here: what other clients notice of calls that are short ([`governor`](super::governor)).

use std::time::Duration;

/// How long a page may take beyond the quickest one.
const MOMENT: Duration = Duration::from_millis(10);

/// Keys that the first page looks at, at most.
const FIRST: f64 = 100.0;

/// How much more the next page looks at, after one that took no longer than a [`MOMENT`]: before and after a page was too
/// long.
const GROWTH: f64 = 4.0;
const CAREFUL_GROWTH: f64 = 2.0;

/// What a page looks at after one of `keys` that timed out: a fraction of it.
const AFTER_TIMEOUT: f64 = 1.0 / 16.0;

/// How many keys one call may look at.
#[derive(Clone, Debug)]
pub(crate) struct Stride {
    most: f64,
    keys: f64,
    quickest: Option<Duration>,
    /// Whether a page was too long.
    is_careful: bool,
}

impl Stride {
    /// At most `most` keys, and a hundred at first.
    pub(crate) fn new(most: u32) -> Self {
        Self {
            most: f64::from(most.max(1)),
            keys: FIRST.min(f64::from(most.max(1))),
            quickest: None,
            is_careful: false,
        }
    }

    /// How many keys the next call may look at, 1 at least.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and `most`"
    )]
    pub(crate) fn keys(&self) -> u32 {
        self.keys.clamp(1.0, self.most) as u32
    }

    /// Takes in how long a call took that looked at `keys`.
    pub(crate) fn took(&mut self, keys: u32, time: Duration) {
        let Some(quickest) = self
            .quickest
            .replace(self.quickest.map_or(time, |known| known.min(time)))
        else {
            // Either the server is far away or its keys take long: a smaller page tells which.
            if time > MOMENT {
                self.keys = (self.keys / GROWTH).max(1.0);
            } else {
                self.grow(GROWTH);
            }
            return;
        };
        let (longer, keys) = (time.saturating_sub(quickest), f64::from(keys));
        if longer > MOMENT {
            let share = MOMENT.as_secs_f64() / longer.as_secs_f64();
            self.keys = (keys * share.max(AFTER_TIMEOUT)).max(1.0);
            self.is_careful = true;
        } else if keys >= self.keys.floor() {
            self.grow(if self.is_careful { CAREFUL_GROWTH } else { GROWTH });
        }
    }

    fn grow(&mut self, by: f64) {
        self.keys = (self.keys * by).min(self.most);
    }

    /// Takes in that a call timed out that looked at `keys`. Whether there is any use in one that looks at less.
    pub(crate) fn timed_out(&mut self, keys: u32) -> bool {
        self.keys = (f64::from(keys) * AFTER_TIMEOUT).max(1.0);
        self.is_careful = true;
        keys > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long pages take of a server that needs `each` for a key and 30 ms for the way.
    fn longest_of(each: Duration, pages: u32) -> Duration {
        let mut stride = Stride::new(1_000);
        let mut longest = Duration::ZERO;
        for _ in 0..pages {
            let (keys, way) = (stride.keys(), Duration::from_millis(30));
            stride.took(keys, way + each * keys);
            longest = longest.max(each * keys);
        }
        longest
    }

    #[test]
    fn pages_of_quick_keys_grow_however_far_the_server_is() {
        let mut stride = Stride::new(1_000);
        for _ in 0..5 {
            stride.took(stride.keys(), Duration::from_millis(80));
        }
        assert_eq!(stride.keys(), 1_000);
    }

    #[test]
    fn pages_of_slow_keys_stay_within_fifty_milliseconds() {
        for micros in [1, 10, 50, 100, 400] {
            let longest = longest_of(Duration::from_micros(micros), 100);
            assert!(
                longest <= Duration::from_millis(50),
                "{micros} us a key: {longest:?}"
            );
        }
    }

    #[test]
    fn what_timed_out_is_not_asked_again_as_it_was() {
        let mut stride = Stride::new(1_000);
        assert!(stride.timed_out(1_000));
        assert_eq!(stride.keys(), 62);
        assert!(stride.timed_out(62) && stride.timed_out(3));
        assert_eq!(stride.keys(), 1);
        assert!(!stride.timed_out(1), "less than one key is nothing");
    }

    #[test]
    fn a_page_may_shrink_to_one_key() {
        let mut stride = Stride::new(1_000);
        stride.took(1, Duration::from_millis(1));
        for _ in 0..20 {
            stride.took(stride.keys(), Duration::from_millis(200));
        }
        assert_eq!(stride.keys(), 1);
    }
}
