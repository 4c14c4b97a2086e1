//! What other clients feel of a run, and how much it takes for that.
//!
//! The governor is AIMD, as in RFC 5681 for networks: a little more while others do not notice, half as much
//! at once when they do. What they notice is measured as they would, by calls that cost nothing: some are sent
//! right behind calls of ours, and as many afterwards, while we rest. Whatever else makes calls wait, such as
//! other clients or other processes on the machine, meets both alike within a few milliseconds; only the
//! difference is ours.
//!
//! One difference proves nothing where calls wait by chance. But chance does not care which of the two it meets:
//! a run that does no harm is behind in no more than half of all pairs, however wild the weather is. So pairs
//! are added up, one up where ours made a difference and one down where not, never below zero (CUSUM), and
//! what counts is a sum that chance seldom reaches.
//!
//! Not seen is what other runs, and the same run on other primaries, do to the same machine: to this one they
//! are weather.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Pace, Stride};

/// How much longer another client's call may take behind a call of ours: half of what is promised, so that
/// there is time to react.
pub(super) const BOUND: Duration = Duration::from_micros(500);

/// Keys that a gentle call asks for at first, and at least: so few that they cost a server some 0.05 ms.
const FIRST_COUNT: f64 = 100.0;
const LEAST_COUNT: f64 = 50.0;

/// What is added for each call that nobody had to wait behind.
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

/// Calls of ours between two rests that are watched, those of the first page; it seldom has more.
const MOST_PROBES: u32 = 8;

/// The sum of pairs that proves harm: while calls do not wait by chance at all, and otherwise.
const PROOF_IN_CALM: u32 = 2;
const PROOF: u32 = 4;

/// So many pairs without a call that waited for others make a calm.
const CALM: u32 = 16;

/// Steers the calls to one primary.
#[derive(Debug)]
pub(in crate::engine) struct Governor {
    pace: Pace,
    most: u32,
    state: Mutex<State>,
    stride: Mutex<Stride>,
}

#[derive(Debug)]
struct State {
    count: f64,
    rest: f64,
    owed: Duration,
    /// Probes behind calls of ours since the last rest, and the slowest of them.
    probes: u32,
    behind: Duration,
    /// No further call is watched before the next rest.
    watched: bool,
    /// The sum of pairs.
    harm: u32,
    /// Pairs since a probe waited for others for longer than it would have to behind ours.
    calm: u32,
}

impl Governor {
    /// At most `most` keys a call.
    pub(in crate::engine) fn new(pace: Pace, most: u32) -> Self {
        let count = match pace {
            Pace::Gentle => FIRST_COUNT.min(f64::from(most)),
            Pace::Full => f64::from(most),
        };
        Self {
            pace,
            most,
            stride: Mutex::new(Stride::new(most)),
            state: Mutex::new(State {
                count,
                rest: LEAST_REST,
                owed: Duration::ZERO,
                probes: 0,
                behind: Duration::ZERO,
                watched: false,
                harm: 0,
                calm: 0,
            }),
        }
    }

    pub(in crate::engine) fn is_gentle(&self) -> bool {
        self.pace == Pace::Gentle
    }

    /// How many keys the next call may ask for, by what others notice.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and `most`"
    )]
    pub(in crate::engine) fn count(&self) -> u32 {
        (self.state().count as u32).clamp(1, self.most)
    }

    /// The same, or fewer where pages take long at this primary.
    pub(in crate::engine) fn page(&self) -> u32 {
        self.count().min(self.stride().keys())
    }

    /// Takes in how long a call took that asked for `count` keys.
    pub(in crate::engine) fn took(&self, count: u32, time: Duration) {
        self.stride().took(count, time);
    }

    /// Takes in that a call timed out that asked for `count` keys; the next one asks for fewer.
    pub(in crate::engine) fn timed_out(&self, count: u32) {
        self.stride().timed_out(count);
    }

    fn stride(&self) -> MutexGuard<'_, Stride> {
        self.stride.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a probe is to be sent behind the next call.
    pub(in crate::engine) fn wants_probe(&self) -> bool {
        let state = self.state();
        self.is_gentle() && !state.watched && state.probes < MOST_PROBES
    }

    /// Takes in how long a probe took behind a call of ours.
    pub(in crate::engine) fn behind(&self, probe: Duration) {
        let mut state = self.state();
        state.probes += 1;
        state.behind = state.behind.max(probe);
    }

    /// How long to rest after a page that was so much work.
    pub(in crate::engine) fn rest_after(&self, work: Duration) -> Duration {
        if !self.is_gentle() {
            return Duration::ZERO;
        }
        let mut state = self.state();
        state.watched = state.probes > 0;
        let rest = work.mul_f64(state.rest).min(LONGEST_REST);
        state.owed += rest;
        if state.owed < SHORTEST_REST {
            return Duration::ZERO;
        }
        std::mem::take(&mut state.owed)
    }

    /// How many probes are to be sent at the end of a rest, while nothing of ours is at the server: as many as
    /// were sent behind calls, so that chance meets both alike.
    pub(in crate::engine) fn probes_apart(&self) -> u32 {
        self.state().probes
    }

    /// Takes in how long the slowest of these took; `None` where one of them failed.
    pub(in crate::engine) fn apart(&self, slowest: Option<Duration>) {
        let mut state = self.state();
        let probes = std::mem::take(&mut state.probes);
        let behind = std::mem::take(&mut state.behind);
        state.watched = false;
        if let Some(apart) = slowest.filter(|_| probes > 0) {
            state.compare(behind, apart, probes, self.most);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn compare(&mut self, behind: Duration, apart: Duration, probes: u32, most: u32) {
        self.calm = if apart > behind + BOUND { 0 } else { self.calm + 1 };
        let is_calm = self.calm >= CALM;
        if behind <= apart + BOUND {
            self.harm = self.harm.saturating_sub(1);
            // Where harm takes long to prove, there has to be less of it meanwhile.
            let calls = f64::from(probes) * if is_calm { 1.0 } else { 0.5 };
            self.count = (self.count + MORE_KEYS * calls).min(f64::from(most));
            self.rest = (self.rest - LESS_REST * calls).max(LEAST_REST);
            return;
        }
        self.harm += 1;
        let proof = if is_calm { PROOF_IN_CALM } else { PROOF };
        if self.harm >= proof {
            self.harm = 0;
            self.count = (self.count / 2.0).max(LEAST_COUNT.min(f64::from(most)));
            self.rest = (self.rest * 2.0).min(MOST_REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_micros(100);
    const SLOW: Duration = Duration::from_millis(1);

    fn pair(governor: &Governor, behind: Duration, apart: Duration) {
        governor.behind(behind);
        governor.apart(Some(apart));
    }

    #[test]
    fn calls_shrink_by_half_as_soon_as_others_wait_and_grow_slowly_after() {
        let governor = Governor::new(Pace::Gentle, 1_000);
        for _ in 0..200 {
            pair(&governor, QUIET + BOUND, QUIET);
        }
        assert_eq!(governor.count(), 1_000);
        pair(&governor, SLOW, QUIET);
        assert_eq!(governor.count(), 1_000, "once is chance");
        pair(&governor, SLOW, QUIET);
        assert_eq!(governor.count(), 500);
        pair(&governor, QUIET, QUIET);
        assert_eq!(governor.count(), 510);
        for _ in 0..20 {
            pair(&governor, SLOW, QUIET);
        }
        assert_eq!(governor.count(), 50);
    }

    #[test]
    fn a_server_that_is_slow_by_itself_slows_nothing_down() {
        let governor = Governor::new(Pace::Gentle, 1_000);
        for _ in 0..200 {
            pair(&governor, SLOW * 9, SLOW * 9);
        }
        assert_eq!(governor.count(), 1_000);
    }

    #[test]
    fn there_is_as_much_rest_as_work_and_more_where_others_wait() {
        let governor = Governor::new(Pace::Gentle, 1_000);
        let work = Duration::from_millis(4);
        assert_eq!(governor.rest_after(work), work);
        for _ in 0..PROOF {
            pair(&governor, SLOW, QUIET);
        }
        assert_eq!(governor.rest_after(work), work * 2);
        assert_eq!(governor.rest_after(work * 100), LONGEST_REST);
        assert_eq!(Governor::new(Pace::Full, 1_000).rest_after(work), Duration::ZERO);
    }

    #[test]
    fn short_rests_are_saved_up() {
        let governor = Governor::new(Pace::Gentle, 1_000);
        let work = Duration::from_micros(900);
        assert_eq!(governor.rest_after(work), Duration::ZERO);
        assert_eq!(governor.rest_after(work), Duration::ZERO);
        assert_eq!(governor.rest_after(work), work * 3);
    }

    #[test]
    fn the_first_page_after_a_rest_is_watched_and_as_many_probes_follow_in_the_next() {
        let governor = Governor::new(Pace::Gentle, 1_000);
        for _ in 0..2 {
            for _ in 0..2 {
                assert!(governor.wants_probe());
                governor.behind(QUIET);
            }
            governor.rest_after(QUIET);
            assert!(!governor.wants_probe(), "the first page only");
            assert_eq!(governor.probes_apart(), 2);
            governor.apart(Some(QUIET));
        }
        assert_eq!(governor.count(), 120, "at first half as much as in a calm");
        assert!(!Governor::new(Pace::Full, 1_000).wants_probe());
    }

    #[test]
    fn a_probe_that_fails_says_nothing() {
        let governor = Governor::new(Pace::Gentle, 1_000);
        governor.behind(SLOW);
        governor.apart(None);
        assert_eq!((governor.count(), governor.probes_apart()), (100, 0));
        assert!(governor.wants_probe());
    }
}
