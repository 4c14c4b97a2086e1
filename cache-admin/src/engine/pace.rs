//! How fast a run goes: what other clients feel of it, and how many keys it looks at.
//!
//! The governor is AIMD, as in RFC 5681 for networks: a little more while others do not notice, half as much
//! at once when they do. What others notice is measured as they would: by a call that costs nothing, sent
//! right behind one of ours, against what such a call took before the run.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::clock::{self, Instant};
use serde::{Deserialize, Serialize};

/// How much of the servers a run takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Pace {
    /// So little that other clients hardly notice: calls so short that whoever stands behind one waits at
    /// most about 0.5 ms longer, with as much rest between them as work; less and less where others have to
    /// wait for whatever reason.
    #[default]
    Gentle,
    /// As fast as the servers go, which then have little time for others: a call behind one of ours may wait
    /// for a millisecond or two.
    Full,
}

/// How much longer than before a run another client's call may take, behind a call of ours: half of what is
/// promised, so that there is time to react.
const BOUND: Duration = Duration::from_micros(500);

/// Keys that a gentle call asks for at first, and at least: so few that they cost a server some 0.05 ms.
const FIRST_COUNT: f64 = 100.0;
const LEAST_COUNT: f64 = 50.0;

/// What is added where nobody had to wait.
const MORE_KEYS: f64 = 10.0;
const LESS_REST: f64 = 0.05;

/// Rest for work: at first and at least as much, at most so many times as much.
const LEAST_REST: f64 = 1.0;
const MOST_REST: f64 = 16.0;

/// The longest rest after one page: a run gets on, with some 5,000 keys a second, also where others make the
/// server slow. With the fewest keys that is less than a hundredth of the server's time.
const LONGEST_REST: Duration = Duration::from_millis(10);

/// Rests shorter than this are saved up: timers are no finer than a millisecond.
const SHORTEST_REST: Duration = Duration::from_millis(2);

/// Steers the calls to one primary.
#[derive(Debug)]
pub(super) struct Governor {
    pace: Pace,
    most: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    count: f64,
    rest: f64,
    owed: Duration,
    quiet: Option<Duration>,
}

impl Governor {
    /// At most `most` keys a call.
    pub(super) fn new(pace: Pace, most: u32) -> Self {
        let count = match pace {
            Pace::Gentle => FIRST_COUNT.min(f64::from(most)),
            Pace::Full => f64::from(most),
        };
        Self {
            pace,
            most,
            state: Mutex::new(State {
                count,
                rest: LEAST_REST,
                owed: Duration::ZERO,
                quiet: None,
            }),
        }
    }

    pub(super) fn is_gentle(&self) -> bool {
        self.pace == Pace::Gentle
    }

    /// Whether it does not know yet what a call takes while we are silent.
    pub(super) fn is_new(&self) -> bool {
        self.is_gentle() && self.state().quiet.is_none()
    }

    /// Takes in what calls took while we were silent. The slowest fifth are left out; the next one counts: on a
    /// server that is busy with others, calls wait now and then whatever we do.
    pub(super) fn learn_quiet(&self, mut calls: Vec<Duration>) {
        calls.sort_unstable();
        self.state().quiet = calls.get((calls.len() * 4 / 5).saturating_sub(1)).copied();
    }

    /// How many keys the next call asks for.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and `most`"
    )]
    pub(super) fn count(&self) -> u32 {
        (self.state().count as u32).clamp(1, self.most)
    }

    /// Takes in how long a call behind ours took.
    pub(super) fn observe(&self, call: Duration) {
        let mut state = self.state();
        let Some(quiet) = state.quiet else { return };
        if call.saturating_sub(quiet) > BOUND {
            state.count = (state.count / 2.0).max(LEAST_COUNT);
            state.rest = (state.rest * 2.0).min(MOST_REST);
        } else {
            state.count = (state.count + MORE_KEYS).min(f64::from(self.most));
            state.rest = (state.rest - LESS_REST).max(LEAST_REST);
        }
    }

    /// How long to rest after so much work.
    pub(super) fn rest_after(&self, work: Duration) -> Duration {
        if !self.is_gentle() {
            return Duration::ZERO;
        }
        let mut state = self.state();
        let rest = work.mul_f64(state.rest).min(LONGEST_REST);
        state.owed += rest;
        if state.owed < SHORTEST_REST {
            return Duration::ZERO;
        }
        std::mem::take(&mut state.owed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets a run look at so many keys in a second and no more, on all primaries together.
#[derive(Debug)]
pub(super) struct Limiter {
    limit: Option<u32>,
    /// When the next call may begin.
    free: Mutex<Option<Instant>>,
}

impl Limiter {
    pub(super) const fn new(limit: Option<u32>) -> Self {
        Self {
            limit,
            free: Mutex::new(None),
        }
    }

    /// Of `wanted` keys, how many to ask for in one call: a tenth of a second's worth at most.
    pub(super) fn share(&self, wanted: u32) -> u32 {
        self.limit.map_or(wanted, |limit| wanted.min((limit / 10).max(1)))
    }

    /// Waits for the turn of a call that looks at so many.
    pub(super) async fn turn(&self, keys: u32) {
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

    const QUIET: Duration = Duration::from_micros(100);
    const SLOW: Duration = Duration::from_millis(1);

    fn gentle() -> Governor {
        let governor = Governor::new(Pace::Gentle, 1_000);
        governor.learn_quiet(vec![QUIET; 5]);
        governor
    }

    #[test]
    fn calls_shrink_by_half_as_soon_as_others_wait_and_grow_slowly_after() {
        let governor = gentle();
        for _ in 0..200 {
            governor.observe(QUIET + BOUND);
        }
        assert_eq!(governor.count(), 1_000);
        governor.observe(SLOW);
        assert_eq!(governor.count(), 500);
        governor.observe(QUIET);
        assert_eq!(governor.count(), 510);
        for _ in 0..20 {
            governor.observe(SLOW);
        }
        assert_eq!(governor.count(), 50);
    }

    #[test]
    fn there_is_as_much_rest_as_work_and_more_where_others_wait() {
        let governor = gentle();
        let work = Duration::from_millis(4);
        assert_eq!(governor.rest_after(work), work);
        governor.observe(SLOW);
        assert_eq!(governor.rest_after(work), work * 2);
        assert_eq!(governor.rest_after(work * 100), LONGEST_REST);
        assert_eq!(Governor::new(Pace::Full, 1_000).rest_after(work), Duration::ZERO);
    }

    #[test]
    fn short_rests_are_saved_up() {
        let governor = gentle();
        let work = Duration::from_micros(900);
        assert_eq!(governor.rest_after(work), Duration::ZERO);
        assert_eq!(governor.rest_after(work), Duration::ZERO);
        assert_eq!(governor.rest_after(work), work * 3);
    }

    #[test]
    fn what_all_but_the_slowest_fifth_took_is_quiet() {
        let governor = Governor::new(Pace::Gentle, 1_000);
        assert!(governor.is_new());
        let calls = [9, 1, 2, 50, 3].map(Duration::from_micros);
        governor.learn_quiet(calls.to_vec());
        assert_eq!(governor.state().quiet, Some(Duration::from_micros(9)));
    }

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
