//! Compares the breaker with a model that keeps a list of calls and counts them again each time: through every order
//! of a few events, through long random ones, and from many threads.

use cache_core::clock;
use proptest::prelude::*;

use super::*;

const STEP: Duration = Duration::from_millis(10);
const WINDOW: Duration = Duration::from_millis(100);
const OPEN_FOR: Duration = Duration::from_millis(30);
const FAILING_FOR: Duration = Duration::from_millis(45);

/// What can happen. Ends are of the call that has been running longest, or shortest.
#[derive(Clone, Copy, Debug)]
enum Event {
    Begin,
    End { oldest: bool, how: How },
    Pass(Duration),
}

#[derive(Clone, Copy, Debug)]
enum How {
    Good,
    Slow,
    Bad,
    BadAndSlow,
    Void,
}

impl How {
    const fn is_slow(self) -> bool {
        matches!(self, Self::Slow | Self::BadAndSlow)
    }

    const fn is_bad(self) -> bool {
        matches!(self, Self::Bad | Self::BadAndSlow)
    }
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    failure_rate: f64,
    slow_rate: f64,
    minimum_calls: u32,
    probes: u32,
}

/// A model of the breaker in as few words as possible.
#[derive(Debug)]
struct Model {
    setting: Setting,
    state: BreakerState,
    changes: u64,
    /// The ends of calls since the circuit closed: when, bad, slow.
    ends: Vec<(Duration, bool, bool)>,
    /// The beginnings of the calls since the last good one, in the order of their ends.
    run: Vec<Duration>,
    until: Duration,
    taken: u32,
    last_taken: Duration,
    succeeded: u32,
}

impl Model {
    fn turn(&mut self, to: BreakerState) {
        self.state = to;
        self.changes += 1;
    }

    /// The ticket: the number of changes before it, whether it is a probe's, and when it was issued.
    fn admit(&mut self, now: Duration) -> Option<(u64, bool, Duration)> {
        if self.state == BreakerState::Closed {
            return Some((self.changes, false, now));
        }
        if self.state == BreakerState::Open {
            if now < self.until {
                return None;
            }
            self.turn(BreakerState::HalfOpen);
            (self.taken, self.succeeded) = (0, 0);
        }
        if self.taken == self.setting.probes && now - self.last_taken < OPEN_FOR {
            return None;
        }
        self.taken = (self.taken + 1).min(self.setting.probes);
        self.last_taken = now;
        Some((self.changes, true, now))
    }

    fn end(&mut self, (changes, probe, begun): (u64, bool, Duration), how: How, now: Duration) {
        if changes != self.changes {
            return;
        }
        match (probe, how) {
            (false, How::Good) => {
                self.ends.push((now, false, false));
                self.run.clear();
            }
            (false, How::Void) => {}
            (false, _) => {
                self.ends.push((now, how.is_bad(), how.is_slow()));
                self.run.push(begun);
                let steps = |time: Duration| time.as_millis() / STEP.as_millis();
                let lately: Vec<_> = self
                    .ends
                    .iter()
                    .filter(|(when, ..)| steps(now) - steps(*when) < 10)
                    .collect();
                let share = |count: usize| count as f64 / lately.len() as f64;
                let bad = share(lately.iter().filter(|(_, bad, _)| *bad).count());
                let slow = share(lately.iter().filter(|(.., slow)| *slow).count());
                let enough = lately.len() >= self.setting.minimum_calls as usize;
                let by_rate = enough && (bad >= self.setting.failure_rate || slow >= self.setting.slow_rate);
                let by_run =
                    self.run.len() >= self.setting.minimum_calls as usize && now - self.run[0] >= FAILING_FOR;
                if by_rate || by_run {
                    self.turn(BreakerState::Open);
                    self.until = now + OPEN_FOR;
                }
            }
            (true, How::Good) => {
                self.succeeded += 1;
                if self.succeeded == self.setting.probes {
                    self.turn(BreakerState::Closed);
                    self.ends.clear();
                    self.run.clear();
                }
            }
            (true, How::Void) => self.taken -= self.taken.min(1),
            (true, _) => {
                self.turn(BreakerState::Open);
                self.until = now + OPEN_FOR;
            }
        }
    }
}

fn breaker(setting: Setting, now: Instant) -> Breaker {
    let config = GuardedConfig {
        failure_rate: setting.failure_rate,
        slow_rate: setting.slow_rate,
        window: WINDOW,
        failing_for: FAILING_FOR,
        minimum_calls: setting.minimum_calls,
        open_for: OPEN_FOR,
        probes: setting.probes,
        ..GuardedConfig::default()
    };
    let mut breaker = Breaker::new(&config, Arc::default(), now);
    breaker.rules.chance = || 0.0;
    breaker
}

fn error() -> CacheError {
    CacheError::Timeout {
        stage: cache_core::Stage::Reply,
        after: STEP,
    }
}

/// Plays `events` to both, and fails if they disagree.
fn play(setting: Setting, events: &[Event]) {
    let origin = clock::now();
    let breaker = breaker(setting, origin);
    let mut model = Model {
        setting,
        state: BreakerState::Closed,
        changes: 0,
        ends: Vec::new(),
        run: Vec::new(),
        until: Duration::ZERO,
        taken: 0,
        last_taken: Duration::ZERO,
        succeeded: 0,
    };
    let mut passed = Duration::ZERO;
    let mut running = Vec::new();
    let failure = error();
    for (number, event) in events.iter().enumerate() {
        let at = || format!("{event:?}, number {number} of {events:?} with {setting:?}");
        let before = model.state;
        let mut told = None;
        match *event {
            Event::Begin => {
                let (ticket, change) = breaker.admit(origin + passed);
                let expected = model.admit(passed);
                assert_eq!(
                    ticket.map(|ticket| (ticket.generation, ticket.probe, ticket.begun - origin)),
                    expected,
                    "{}",
                    at()
                );
                running.extend(ticket.zip(expected));
                told = change;
            }
            Event::End { oldest, how } if !running.is_empty() => {
                let at = if oldest { 0 } else { running.len() - 1 };
                let (ticket, expected) = running.remove(at);
                let verdict = match how {
                    How::Good | How::Slow => Verdict::Good,
                    How::Bad | How::BadAndSlow => Verdict::Bad(&failure),
                    How::Void => Verdict::Void,
                };
                told = breaker.end(ticket, origin + passed, verdict, how.is_slow());
                model.end(expected, how, passed);
            }
            Event::End { .. } => {}
            Event::Pass(time) => passed += time,
        }
        assert_eq!(breaker.state(), model.state, "{}", at());
        let told = told.map(|change| (change.from, change.to));
        assert_eq!(
            told,
            (before != model.state).then_some((before, model.state)),
            "{}",
            at()
        );
    }
}

const FEW: [Setting; 3] = [
    Setting {
        failure_rate: 0.5,
        slow_rate: 1.0,
        minimum_calls: 1,
        probes: 1,
    },
    Setting {
        failure_rate: 1.0,
        slow_rate: 0.5,
        minimum_calls: 2,
        probes: 1,
    },
    Setting {
        failure_rate: 0.6,
        slow_rate: 0.6,
        minimum_calls: 1,
        probes: 2,
    },
];

#[test]
fn every_order_of_a_few_events_is_as_the_model_says() {
    const fn end(oldest: bool, how: How) -> Event {
        Event::End { oldest, how }
    }
    const EVENTS: [Event; 9] = [
        Event::Begin,
        end(true, How::Good),
        end(true, How::Bad),
        end(false, How::Good),
        end(false, How::Bad),
        end(false, How::Slow),
        end(false, How::Void),
        Event::Pass(Duration::from_millis(30)),
        Event::Pass(Duration::from_millis(70)),
    ];
    const DEPTH: usize = 7;

    fn explore(setting: Setting, events: &mut Vec<Event>, begun: usize, ended: usize, played: &mut u64) {
        if events.len() == DEPTH {
            play(setting, events);
            *played += 1;
            return;
        }
        for event in EVENTS {
            // Whether a call was let through is not known here. An end needs at least one call that began.
            let (begins, ends) = match event {
                Event::Begin => (1, 0),
                Event::End { .. } => (0, 1),
                Event::Pass(_) => (0, 0),
            };
            if ended + ends <= begun + begins {
                events.push(event);
                explore(setting, events, begun + begins, ended + ends, played);
                events.pop();
            }
        }
    }

    let mut played = 0;
    for setting in FEW {
        explore(setting, &mut Vec::new(), 0, 0, &mut played);
    }
    assert!(played > 100_000, "{played} orders");
    println!("{played} orders of {DEPTH} events");
}

fn event() -> impl Strategy<Value = Event> {
    let how = prop_oneof![
        4 => Just(How::Good),
        1 => Just(How::Slow),
        3 => Just(How::Bad),
        1 => Just(How::BadAndSlow),
        1 => Just(How::Void),
    ];
    prop_oneof![
        5 => Just(Event::Begin),
        5 => (any::<bool>(), how).prop_map(|(oldest, how)| Event::End { oldest, how }),
        1 => (1..60u64).prop_map(|millis| Event::Pass(Duration::from_millis(millis))),
    ]
}

proptest! {
    #[test]
    fn long_orders_of_events_are_as_the_model_says(
        failure_rate in 0.1..=1.0,
        slow_rate in 0.1..=1.0,
        minimum_calls in 1..8u32,
        probes in 1..4u32,
        events in proptest::collection::vec(event(), 0..300),
    ) {
        play(Setting { failure_rate, slow_rate, minimum_calls, probes }, &events);
    }
}

#[test]
fn of_many_threads_only_as_many_get_through_as_there_are_probes() {
    let origin = clock::now();
    for probes in [1, 3] {
        let setting = Setting { probes, ..FEW[0] };
        for _ in 0..200 {
            let breaker = breaker(setting, origin);
            let (ticket, _) = breaker.admit(origin);
            assert!(
                breaker
                    .end(ticket.unwrap(), origin, Verdict::Bad(&error()), false)
                    .is_some()
            );
            let later = origin + OPEN_FOR;
            let let_through: usize = std::thread::scope(|scope| {
                let threads = [(); 4]
                    .map(|()| scope.spawn(|| (0..50).filter(|_| breaker.admit(later).0.is_some()).count()));
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert_eq!(let_through, probes as usize);
        }
    }
}

#[test]
fn the_loss_of_what_was_under_way_does_not_open_but_a_stall_does() {
    // A thousand good calls, then 40 that fail at once: a connection is lost, or the backend has stalled.
    let setting = Setting {
        minimum_calls: 20,
        ..FEW[0]
    };
    let stalled = FAILING_FOR;
    let lost = FAILING_FOR - Duration::from_nanos(1);
    for (after, opens) in [(stalled, true), (lost, false)] {
        let origin = clock::now();
        let breaker = breaker(setting, origin);
        let admit = || breaker.admit(origin).0.unwrap();
        for _ in 0..1_000 {
            breaker.end(admit(), origin, Verdict::Good, false);
        }
        let calls = [(); 40].map(|()| admit());
        let changes = calls.map(|call| breaker.end(call, origin + after, Verdict::Bad(&error()), false));
        assert_eq!(changes[19].is_some(), opens);
        assert_eq!(changes.iter().flatten().count(), usize::from(opens));
    }
}

#[test]
fn the_open_time_is_shortened_by_chance_and_never_below_half() {
    let origin = clock::now();
    let cases: [(fn() -> f64, Duration); 3] = [
        (|| 0.0, OPEN_FOR),
        (|| 0.5, OPEN_FOR * 3 / 4),
        (|| 1.0, OPEN_FOR / 2),
    ];
    for (chance, open) in cases {
        let mut breaker = breaker(FEW[0], origin);
        breaker.rules.chance = chance;
        let (ticket, _) = breaker.admit(origin);
        breaker.end(ticket.unwrap(), origin, Verdict::Bad(&error()), false);
        assert!(breaker.admit(origin + open - Duration::from_nanos(1)).0.is_none());
        assert!(breaker.admit(origin + open).0.is_some());
    }
}
