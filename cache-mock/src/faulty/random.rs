//! Random faults, reproducible by seed and order of calls.

use std::ops::RangeInclusive;
use std::time::Duration;

use cache_core::CacheError;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Fault, Operation};

/// The rate of each random fault. Rates are fractions of all calls, from 0 to 1. If they add up to more than
/// 1, the first ones in this list win: errors, lost requests, lost replies, hangs, delays.
///
/// ```
/// use std::time::Duration;
/// use cache_core::MemoryCache;
/// use cache_mock::{FaultyCache, RandomFaults};
///
/// let flaky = RandomFaults::new(42).errors(0.05).delays(0.2, Duration::from_millis(1)..=Duration::from_millis(30));
/// let cache = FaultyCache::new(MemoryCache::default());
/// cache.faults().at_random(flaky);
/// ```
#[derive(Clone, Debug)]
#[must_use = "hand it to `Faults::at_random`"]
pub struct RandomFaults {
    chance: StdRng,
    error: Fault,
    timeout: Duration,
    delay: RangeInclusive<Duration>,
    errors: f64,
    lost_requests: f64,
    lost_replies: f64,
    hangs: f64,
    delays: f64,
}

impl RandomFaults {
    /// Creates random faults from `seed`, with all rates 0.
    pub fn new(seed: u64) -> Self {
        Self {
            chance: StdRng::seed_from_u64(seed),
            error: Fault::connection_lost(),
            timeout: Duration::from_secs(3),
            delay: Duration::ZERO..=Duration::ZERO,
            errors: 0.0,
            lost_requests: 0.0,
            lost_replies: 0.0,
            hangs: 0.0,
            delays: 0.0,
        }
    }

    /// How often a call fails without being applied. Default: never.
    pub fn errors(mut self, rate: f64) -> Self {
        self.errors = rate;
        self
    }

    /// The error of such a call. Default: a lost connection.
    pub fn failing_with(mut self, error: CacheError) -> Self {
        self.error = Fault::Error(error);
        self
    }

    /// How often a request is lost ([`Fault::LostRequest`]). Default: never.
    pub fn lost_requests(mut self, rate: f64) -> Self {
        self.lost_requests = rate;
        self
    }

    /// How often a reply is lost ([`Fault::LostReply`]). Default: never.
    pub fn lost_replies(mut self, rate: f64) -> Self {
        self.lost_replies = rate;
        self
    }

    /// How long a call whose request or reply is lost takes to time out. Default: 3 s.
    pub fn timing_out_after(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often a call hangs. Default: never.
    pub fn hangs(mut self, rate: f64) -> Self {
        self.hangs = rate;
        self
    }

    /// How often a call is delayed, and by how much. Default: never.
    pub fn delays(mut self, rate: f64, by: RangeInclusive<Duration>) -> Self {
        self.delays = rate;
        self.delay = by;
        self
    }

    /// Draws the fault of the next call. `close` never fails, so that tests end.
    pub(super) fn draw(&mut self, operation: Operation) -> Option<Fault> {
        let drawn: f64 = self.chance.random();
        let late = if self.delay.is_empty() {
            *self.delay.start()
        } else {
            self.chance.random_range(self.delay.clone())
        };
        if operation == Operation::Close {
            return None;
        }
        let faults = [
            (self.errors, self.error.clone()),
            (self.lost_requests, Fault::LostRequest(self.timeout)),
            (self.lost_replies, Fault::LostReply(self.timeout)),
            (self.hangs, Fault::Hang),
            (self.delays, Fault::Delay(late)),
        ];
        let mut below = 0.0;
        faults.into_iter().find_map(|(rate, fault)| {
            below += rate;
            (drawn < below).then_some(fault)
        })
    }
}
