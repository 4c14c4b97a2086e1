//! When the next refresh begins: due, requested, or held back. No I/O and no clock.

use std::time::Duration;

use cache_core::clock::Instant;

use super::config::KeyringConfig;

/// When the next refresh begins, and how the last one ended.
#[derive(Debug)]
pub(super) struct Schedule {
    /// When the next refresh is due.
    pub(super) next: Instant,
    /// Before this time, only a refresh that is due begins.
    not_before: Instant,
    /// Whether a refresh was requested before it is due.
    asked: bool,
    pub(super) in_flight: bool,
    /// When the keyset was last read.
    pub(super) loaded: Instant,
    /// Failures in a row.
    pub(super) failures: u32,
    pub(super) outcome: String,
}

impl Schedule {
    /// The schedule of a keyset that was loaded just now.
    pub(super) fn new(config: &KeyringConfig, now: Instant) -> Self {
        Self {
            next: now + early(config.refresh_every, config),
            not_before: now + config.least_gap,
            asked: false,
            in_flight: false,
            loaded: now,
            failures: 0,
            outcome: "loaded at start".to_owned(),
        }
    }

    /// When to look again. If that is at or before `now`, begin a refresh.
    pub(super) fn due(&self) -> Instant {
        if self.asked {
            self.next.min(self.not_before)
        } else {
            self.next
        }
    }

    /// Requests a refresh before it is due. Returns whether one is in progress, or begins at once.
    pub(super) fn ask(&mut self, now: Instant) -> bool {
        if self.in_flight {
            return true;
        }
        self.asked = true;
        self.due() <= now
    }

    /// As [`ask`](Self::ask), but nothing holds it back.
    pub(super) fn ask_now(&mut self, now: Instant) {
        if !self.in_flight {
            self.next = self.next.min(now);
        }
    }

    /// Records that a refresh begins. If it never ends, because its task panics or is dropped, the next one comes
    /// after a gap.
    pub(super) fn begin(&mut self, config: &KeyringConfig, now: Instant) {
        self.asked = false;
        self.in_flight = true;
        self.not_before = now + config.least_gap;
        self.next = self.not_before;
    }

    pub(super) fn succeeded(&mut self, config: &KeyringConfig, now: Instant, outcome: String) {
        self.in_flight = false;
        self.loaded = now;
        self.failures = 0;
        self.outcome = outcome;
        self.not_before = now + config.least_gap;
        self.next = now + early(config.refresh_every, config);
    }

    pub(super) fn failed(&mut self, config: &KeyringConfig, now: Instant, outcome: String) {
        self.in_flight = false;
        self.failures = self.failures.saturating_add(1);
        self.outcome = outcome;
        let doubled = 2_u32.saturating_pow(self.failures - 1);
        let pause = config.least_gap.saturating_mul(doubled).min(config.refresh_every);
        self.not_before = now + config.least_gap;
        self.next = now + early(pause, config);
    }
}

/// Returns `time`, or less at random.
fn early(time: Duration, config: &KeyringConfig) -> Duration {
    time.mul_f64(1.0 - config.jitter * rand::random::<f64>())
}

#[cfg(test)]
mod tests {
    use cache_core::clock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn config() -> KeyringConfig {
        let config = KeyringConfig::builder()
            .refresh_every(SECOND * 900)
            .least_gap(SECOND * 30);
        config.jitter(0.1).build().unwrap()
    }

    #[test]
    fn refresh_comes_early_by_chance_and_never_late() {
        let (config, now) = (config(), clock::now());
        let waits: Vec<_> = (0..1_000)
            .map(|_| Schedule::new(&config, now).next - now)
            .collect();
        assert!(
            waits
                .iter()
                .all(|wait| (SECOND * 810..=SECOND * 900).contains(wait))
        );
        assert!(waits.iter().any(|wait| *wait < SECOND * 830));
        assert!(waits.iter().any(|wait| *wait > SECOND * 880));
    }

    #[test]
    fn asking_is_held_back_for_the_gap_and_not_forgotten() {
        let (config, start) = (config(), clock::now());
        let mut schedule = Schedule::new(&config, start);
        assert!(!schedule.ask(start + SECOND * 29));
        assert_eq!(schedule.due(), start + SECOND * 30);
        assert!(schedule.ask(start + SECOND * 30));
        schedule.begin(&config, start + SECOND * 30);
        assert!(schedule.ask(start + SECOND * 31), "it is under way");
        schedule.succeeded(&config, start + SECOND * 32, String::new());
        assert!(
            schedule.due() > start + SECOND * 800,
            "asking during a refresh asks for that one"
        );
        assert!(!schedule.ask(start + SECOND * 61));
        assert!(schedule.ask(start + SECOND * 62));
    }

    #[test]
    fn failures_back_off_up_to_the_interval() {
        let (config, now) = (config(), clock::now());
        let mut schedule = Schedule::new(&config, now);
        for expected in [30, 60, 120, 240, 480, 900, 900] {
            schedule.begin(&config, now);
            schedule.failed(&config, now, String::new());
            let wait = schedule.next - now;
            assert!(
                wait <= SECOND * expected && wait >= (SECOND * expected).mul_f64(0.9),
                "{wait:?}"
            );
        }
        schedule.begin(&config, now);
        assert_eq!(
            schedule.due(),
            now + SECOND * 30,
            "a refresh that never ends is tried again"
        );
    }
}
