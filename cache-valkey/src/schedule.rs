//! When the servers are asked who serves what.
//!
//! Pure: the time and the chance are arguments. One look every now and then; one soon after anything that hints at a
//! change, however many calls hint at it; and a row of them with growing pauses for as long as some server that is
//! needed cannot be used. Whatever asks for a look, there are never more than [`BURST`] at once and one per [`REFILL`]
//! over time: an outage must not turn a fleet of clients against the servers that are left.
//!
//! Not in here: who is asked, and what hints at a change.

use std::time::Duration;

use cache_core::clock::Instant;

/// The least time from the start of one look to the start of the next.
const APART: Duration = Duration::from_millis(100);

/// How many looks may follow each other that closely.
const BURST: u32 = 8;

/// The time from one look to the next once the burst is used up.
const REFILL: Duration = Duration::from_millis(1_250);

/// Between looks while all is well: this and up to as much again.
const CALM: Duration = Duration::from_secs(30);

/// What the last look has shown, and so how soon the next one is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// Every server that is needed can be used.
    Well,
    /// One cannot, and a change would be heard of without another look.
    Watched,
    /// One cannot, and only another look shows a change.
    Blind,
}

impl Outlook {
    /// The shortest pause of an outage, the longest, and the part of the outage so far that a pause is.
    const fn pauses(self) -> (Duration, Duration, u32) {
        match self {
            Self::Well => (CALM, CALM, 1),
            Self::Watched => (Duration::from_millis(200), Duration::from_secs(10), 1),
            Self::Blind => (Duration::from_millis(100), Duration::from_secs(1), 8),
        }
    }
}

/// When the next look is due.
#[derive(Debug)]
pub(crate) struct Schedule {
    started: Instant,
    next: Instant,
    wanted: bool,
    failing_since: Option<Instant>,
    /// When all of the burst is to be had again.
    full_at: Instant,
}

impl Schedule {
    /// A look has just begun.
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            started: now,
            next: now,
            wanted: false,
            failing_since: None,
            full_at: now,
        }
    }

    /// Something hints at a change: a look as soon as it may be, and closely watched from then on.
    pub(crate) fn want(&mut self, now: Instant) {
        self.wanted = true;
        if let Some(since) = &mut self.failing_since {
            *since = now;
        }
    }

    /// Whether a look will come as soon as it may, so that nobody needs to ask for one.
    pub(crate) const fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether an outage is under way, so that looks come by themselves.
    pub(crate) const fn is_failing(&self) -> bool {
        self.failing_since.is_some()
    }

    /// For how long some server has been out of use, without a sign of change.
    pub(crate) fn failing_for(&self, now: Instant) -> Duration {
        let since = self.failing_since.unwrap_or(now);
        now.saturating_duration_since(since)
    }

    /// Whether the last look began less than `age` ago.
    pub(crate) fn is_recent(&self, age: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.started) < age
    }

    /// When the next look is to begin.
    pub(crate) fn due(&self) -> Instant {
        // The burst is used up when it would take longer than this to be had again.
        let used_up = REFILL * (BURST - 1);
        let soonest = self.started + APART;
        let soonest = match self.full_at.checked_sub(used_up) {
            Some(affordable) => soonest.max(affordable),
            None => soonest,
        };
        if self.wanted {
            soonest
        } else {
            self.next.max(soonest)
        }
    }

    /// A look begins.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.started = now;
        self.wanted = false;
        // Looks that somebody asked for by name may have come faster than that; they are not held against the others.
        self.full_at = (self.full_at.max(now) + REFILL).min(now + REFILL * BURST);
    }

    /// It has ended. `chance` is from 0 to 1.
    pub(crate) fn end(&mut self, outlook: Outlook, chance: f64, now: Instant) {
        let (shortest, longest, part) = outlook.pauses();
        let step = if outlook == Outlook::Well {
            self.failing_since = None;
            longest
        } else {
            self.failing_since.get_or_insert(now);
            (self.failing_for(now) / part).clamp(shortest, longest)
        };
        self.next = now + step + step.mul_f64(chance);
    }
}

#[cfg(test)]
mod tests {
    use cache_core::clock;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn hints_are_gathered_into_one_look_that_keeps_its_distance() {
        let start = clock::now();
        let mut schedule = Schedule::new(start);
        schedule.end(Outlook::Well, 0.5, start);
        assert_eq!(schedule.due(), start + CALM + CALM / 2);
        schedule.want(start);
        schedule.want(start);
        assert!(schedule.is_wanted());
        assert_eq!(schedule.due(), start + APART);
        schedule.begin(start + APART);
        schedule.end(Outlook::Well, 0.0, start + APART);
        assert!(!schedule.is_wanted());
        assert_eq!(schedule.due(), start + APART + CALM);
    }

    #[test]
    fn a_hint_during_a_look_asks_for_another_one() {
        let start = clock::now();
        let mut schedule = Schedule::new(start);
        schedule.begin(start);
        schedule.want(start);
        schedule.end(Outlook::Well, 0.0, start);
        assert_eq!(schedule.due(), start + APART);
    }

    /// The looks within the first `time` of an outage, if calls hint at a change all the time, or never.
    fn looks(outlook: Outlook, hints: bool, time: Duration) -> Vec<Duration> {
        let start = clock::now();
        let mut schedule = Schedule::new(start);
        let mut looks = Vec::new();
        let mut now = start;
        while now < start + time {
            schedule.begin(now);
            looks.push(now - start);
            schedule.end(outlook, 0.0, now);
            if hints {
                schedule.want(now);
            }
            now = schedule.due();
        }
        looks
    }

    #[test]
    fn calls_that_hint_at_a_change_all_the_time_bring_less_than_one_look_per_second() {
        for outlook in [Outlook::Well, Outlook::Watched, Outlook::Blind] {
            let looks = looks(outlook, true, MINUTE);
            assert!(looks.len() < 60, "{outlook:?}: {}", looks.len());
            assert!(
                looks[1] == APART && looks[4] < Duration::from_secs(1),
                "the first few come at once"
            );
        }
    }

    #[test]
    fn an_outage_is_looked_into_less_and_less_often() {
        let watched = looks(Outlook::Watched, false, MINUTE);
        assert!(watched.len() <= 15, "{watched:?}");
        assert!(watched[4] < Duration::from_secs(3), "{watched:?}");
        let blind = looks(Outlook::Blind, false, MINUTE);
        assert!((30..60).contains(&blind.len()), "{}", blind.len());
    }

    #[test]
    fn a_sign_of_change_in_a_long_outage_has_it_looked_into_closely_again() {
        let start = clock::now();
        let mut schedule = Schedule::new(start);
        schedule.end(Outlook::Watched, 0.0, start);
        let later = start + MINUTE;
        schedule.begin(later);
        schedule.end(Outlook::Watched, 0.0, later);
        assert_eq!(schedule.due(), later + Duration::from_secs(10));
        schedule.want(later);
        assert_eq!(schedule.due(), later + APART);
        schedule.begin(later + APART);
        schedule.end(Outlook::Watched, 0.0, later + APART);
        assert_eq!(schedule.due(), later + APART + Duration::from_millis(200));
        assert!(schedule.is_failing());
        schedule.end(Outlook::Well, 0.0, later + APART);
        assert!(!schedule.is_failing());
    }
}
