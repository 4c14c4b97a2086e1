//! Decides when the topology is refreshed.
//!
//! Pure: the time and the randomness are arguments. There is a refresh at intervals, one soon after a hint at
//! a change, however many calls give that hint, and a series with growing pauses while a needed server is
//! down. Whatever the reason, there are at most [`BURST`] refreshes in a row and one per [`REFILL`] over
//! time: during an outage, a fleet of clients must not overload the remaining servers.
//!
//! Not in here: how the topology is refreshed, and what hints at a change.

use std::time::Duration;

use cache_core::clock::Instant;

/// The least time from the start of one refresh to the start of the next.
const APART: Duration = Duration::from_millis(100);

/// How many refreshes may follow each other that closely.
const BURST: u32 = 8;

/// The time between two refreshes once the burst is used up.
const REFILL: Duration = Duration::from_millis(1_250);

/// The time between refreshes while all servers are up: this, plus a random part of up to as much.
const CALM: Duration = Duration::from_secs(30);

/// What the last refresh found, which decides how soon the next one is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// Every needed server is up.
    Healthy,
    /// A needed server is down, and another source reports changes.
    OutageReported,
    /// A needed server is down, and only another refresh shows a change.
    OutageUnreported,
}

impl Outlook {
    /// The shortest and the longest pause during an outage, and the fraction of the outage's length that a
    /// pause takes.
    const fn pauses(self) -> (Duration, Duration, u32) {
        match self {
            Self::Healthy => (CALM, CALM, 1),
            Self::OutageReported => (Duration::from_millis(200), Duration::from_secs(10), 1),
            Self::OutageUnreported => (Duration::from_millis(100), Duration::from_secs(1), 8),
        }
    }
}

/// When the next refresh is due.
#[derive(Debug)]
pub(crate) struct Schedule {
    started: Instant,
    next: Instant,
    wanted: bool,
    failing_since: Option<Instant>,
    /// When the whole burst is available again.
    full_at: Instant,
}

impl Schedule {
    /// A schedule whose first refresh begins now.
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            started: now,
            next: now,
            wanted: false,
            failing_since: None,
            full_at: now,
        }
    }

    /// Requests a refresh as soon as allowed, after a hint at a change. Pauses of an outage start short
    /// again.
    pub(crate) fn want(&mut self, now: Instant) {
        self.wanted = true;
        if let Some(since) = &mut self.failing_since {
            *since = now;
        }
    }

    /// Whether a refresh is requested already.
    pub(crate) const fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether an outage is under way, so that refreshes repeat without a request.
    pub(crate) const fn is_failing(&self) -> bool {
        self.failing_since.is_some()
    }

    /// How long a needed server has been down, without a sign of change.
    pub(crate) fn failing_for(&self, now: Instant) -> Duration {
        let since = self.failing_since.unwrap_or(now);
        now.saturating_duration_since(since)
    }

    /// Whether the last refresh began less than `age` ago.
    pub(crate) fn is_recent(&self, age: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.started) < age
    }

    /// When the next refresh begins.
    pub(crate) fn due(&self) -> Instant {
        // The burst is used up if it takes longer than this to recover.
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

    /// Records the start of a refresh.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.started = now;
        self.wanted = false;
        // Explicit requests may come faster than that, and do not delay the others.
        self.full_at = (self.full_at.max(now) + REFILL).min(now + REFILL * BURST);
    }

    /// Records the end of a refresh. `chance` is random, from 0 to 1.
    pub(crate) fn end(&mut self, outlook: Outlook, chance: f64, now: Instant) {
        let (shortest, longest, part) = outlook.pauses();
        let step = if outlook == Outlook::Healthy {
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
    fn hints_are_merged_into_one_spaced_refresh() {
        let start = clock::now();
        let mut schedule = Schedule::new(start);
        schedule.end(Outlook::Healthy, 0.5, start);
        assert_eq!(schedule.due(), start + CALM + CALM / 2);
        schedule.want(start);
        schedule.want(start);
        assert!(schedule.is_wanted());
        assert_eq!(schedule.due(), start + APART);
        schedule.begin(start + APART);
        schedule.end(Outlook::Healthy, 0.0, start + APART);
        assert!(!schedule.is_wanted());
        assert_eq!(schedule.due(), start + APART + CALM);
    }

    #[test]
    fn hint_during_a_refresh_requests_another() {
        let start = clock::now();
        let mut schedule = Schedule::new(start);
        schedule.begin(start);
        schedule.want(start);
        schedule.end(Outlook::Healthy, 0.0, start);
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
    fn constant_hints_cause_less_than_one_refresh_per_second() {
        for outlook in [
            Outlook::Healthy,
            Outlook::OutageReported,
            Outlook::OutageUnreported,
        ] {
            let looks = looks(outlook, true, MINUTE);
            assert!(looks.len() < 60, "{outlook:?}: {}", looks.len());
            assert!(
                looks[1] == APART && looks[4] < Duration::from_secs(1),
                "the first few come at once"
            );
        }
    }

    #[test]
    fn outage_refreshes_become_rarer() {
        let watched = looks(Outlook::OutageReported, false, MINUTE);
        assert!(watched.len() <= 15, "{watched:?}");
        assert!(watched[4] < Duration::from_secs(3), "{watched:?}");
        let blind = looks(Outlook::OutageUnreported, false, MINUTE);
        assert!((30..60).contains(&blind.len()), "{}", blind.len());
    }

    #[test]
    fn hint_in_a_long_outage_restarts_frequent_refreshes() {
        let start = clock::now();
        let mut schedule = Schedule::new(start);
        schedule.end(Outlook::OutageReported, 0.0, start);
        let later = start + MINUTE;
        schedule.begin(later);
        schedule.end(Outlook::OutageReported, 0.0, later);
        assert_eq!(schedule.due(), later + Duration::from_secs(10));
        schedule.want(later);
        assert_eq!(schedule.due(), later + APART);
        schedule.begin(later + APART);
        schedule.end(Outlook::OutageReported, 0.0, later + APART);
        assert_eq!(schedule.due(), later + APART + Duration::from_millis(200));
        assert!(schedule.is_failing());
        schedule.end(Outlook::Healthy, 0.0, later + APART);
        assert!(!schedule.is_failing());
    }
}
