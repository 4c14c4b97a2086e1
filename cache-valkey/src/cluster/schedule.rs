//! When the cluster is asked how it looks.
//!
//! Pure: the time and the chance are arguments. A light survey every now and then; one soon after
//! anything that hints at a change, however many calls hint at it; and a brisk row of them for as long
//! as some slot cannot be served, so that a failover is noticed when it happens and not at some later tick.

use std::time::Duration;

use cache_core::clock::Instant;

/// The least time from the start of one survey to the start of the next.
const APART: Duration = Duration::from_millis(100);

/// Between surveys while all is well: this and up to as much again.
const CALM: Duration = Duration::from_secs(30);

/// Between surveys while some slot cannot be served: from this, up to [`LONG_OUTAGE`] while it lasts.
const OUTAGE: Duration = Duration::from_millis(100);
const LONG_OUTAGE: Duration = Duration::from_secs(1);

/// How long after a new epoch was found the survey is repeated.
const CONFIRMATION: Duration = Duration::from_secs(2);

/// Has the survey that found a new epoch repeated, once: nodes may hear of an epoch before they hear of what
/// it changed, and a redirection that was right a moment ago is believed more than a survey.
#[derive(Debug, Default)]
pub(super) struct EpochWatch {
    epoch: u64,
    /// Since when it is known, until it is confirmed.
    since: Option<Instant>,
}

impl EpochWatch {
    /// Whether the survey is to be repeated by now, `epoch` being what is known.
    pub(super) fn is_to_confirm(&mut self, epoch: u64, now: Instant) -> bool {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.since = Some(now);
        }
        let is_due = self.since.is_some_and(|since| now >= since + CONFIRMATION);
        if is_due {
            self.since = None;
        }
        is_due
    }
}

/// When the next survey is due.
#[derive(Debug)]
pub(super) struct Schedule {
    started: Instant,
    next: Instant,
    wanted: bool,
    failing_since: Option<Instant>,
}

impl Schedule {
    /// A survey has just begun.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            started: now,
            next: now,
            wanted: false,
            failing_since: None,
        }
    }

    /// Something hints at a change.
    pub(super) const fn want(&mut self) {
        self.wanted = true;
    }

    /// Whether a survey will come as soon as it may, so that nobody needs to ask for one.
    pub(super) const fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// When the next survey is to begin.
    pub(super) fn due(&self) -> Instant {
        let soonest = self.started + APART;
        if self.wanted {
            soonest
        } else {
            self.next.max(soonest)
        }
    }

    /// A survey begins.
    pub(super) const fn begin(&mut self, now: Instant) {
        self.started = now;
        self.wanted = false;
    }

    /// It has ended, and every slot can be served, or not. `chance` is from 0 to 1.
    pub(super) fn end(&mut self, healthy: bool, chance: f64, now: Instant) {
        let step = if healthy {
            self.failing_since = None;
            CALM
        } else {
            let since = *self.failing_since.get_or_insert(now);
            (now.saturating_duration_since(since) / 10).clamp(OUTAGE, LONG_OUTAGE)
        };
        self.next = now + step + step.mul_f64(chance);
    }
}

#[cfg(test)]
mod tests {
    use cache_core::clock;

    use super::*;

    #[test]
    fn a_new_epoch_is_surveyed_once_more_when_it_has_settled() {
        let mut watch = EpochWatch::default();
        let start = clock::now();
        assert!(!watch.is_to_confirm(5, start));
        assert!(!watch.is_to_confirm(5, start + CONFIRMATION / 2));
        assert!(!watch.is_to_confirm(6, start + CONFIRMATION), "counts anew");
        assert!(watch.is_to_confirm(6, start + 2 * CONFIRMATION));
        assert!(!watch.is_to_confirm(6, start + 9 * CONFIRMATION), "once");
    }

    #[test]
    fn hints_are_gathered_into_one_survey_that_keeps_its_distance() {
        let start = clock::now();
        let mut schedule = Schedule::new(start);
        schedule.end(true, 0.5, start);
        assert_eq!(schedule.due(), start + CALM + CALM / 2);
        schedule.want();
        schedule.want();
        assert!(schedule.is_wanted());
        assert_eq!(schedule.due(), start + APART);
        schedule.begin(start + APART);
        schedule.end(true, 0.0, start + APART);
        assert!(!schedule.is_wanted());
        assert_eq!(schedule.due(), start + APART + CALM);
    }

    #[test]
    fn a_hint_during_a_survey_asks_for_another_one() {
        let start = clock::now();
        let mut schedule = Schedule::new(start);
        schedule.begin(start);
        schedule.want();
        schedule.end(true, 0.0, start);
        assert_eq!(schedule.due(), start + APART);
    }

    #[test]
    fn an_outage_is_watched_closely_and_a_long_one_less_so() {
        let start = clock::now();
        let mut schedule = Schedule::new(start);
        let pause = |schedule: &mut Schedule, after: Duration, healthy| {
            schedule.begin(start + after);
            schedule.end(healthy, 0.0, start + after);
            schedule.due() - (start + after)
        };
        assert_eq!(pause(&mut schedule, Duration::ZERO, false), OUTAGE);
        assert_eq!(pause(&mut schedule, Duration::from_secs(1), false), OUTAGE);
        assert_eq!(
            pause(&mut schedule, Duration::from_secs(5), false),
            Duration::from_millis(500)
        );
        assert_eq!(pause(&mut schedule, Duration::from_secs(600), false), LONG_OUTAGE);
        assert_eq!(pause(&mut schedule, Duration::from_secs(601), true), CALM);
        assert_eq!(
            pause(&mut schedule, Duration::from_secs(602), false),
            OUTAGE,
            "a new outage"
        );
    }
}
