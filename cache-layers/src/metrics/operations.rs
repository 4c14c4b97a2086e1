//! Counts all calls of one tier, and times a sample of them.
//!
//! A histogram of the SDK costs 150 to 550 ns per value (a map behind a lock, and a lock behind that; more with more
//! threads), which is more than a near hit. So calls are counted exactly in our own counters, at almost no cost, and
//! their sums are reported when metrics are collected. Only sampled durations go through the histogram.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Histogram, Meter};

use super::catalog;
use super::labels::{Operation, Outcome, Tier};
use super::tally::Tally;

const SERIES: usize = Operation::COUNT * Outcome::COUNT;
const KEYS_HIT: usize = SERIES;
const KEYS_MISSED: usize = SERIES + 1;
/// The calls with one result per key, each with the position of its count of failed keys.
const FAILED_KEYS: [(Operation, usize); 3] = [
    (Operation::GetEach, SERIES + 2),
    (Operation::GetEntries, SERIES + 3),
    (Operation::SetEach, SERIES + 4),
];

/// The calls with any number of keys, whose keys are counted too, each at its own number after this.
const BATCH_KEYS: usize = SERIES + 5;
const BATCHES: [Operation; 7] = [
    Operation::GetMany,
    Operation::GetEach,
    Operation::GetEntries,
    Operation::SetMany,
    Operation::SetEach,
    Operation::Del,
    Operation::Exists,
];

/// The tiers created so far, and their instruments.
#[derive(Debug)]
pub(super) struct Tiers {
    known: Arc<Mutex<Vec<Arc<TierCalls>>>>,
    operations: Histogram<f64>,
    client_operations: Histogram<f64>,
}

impl Tiers {
    pub(super) fn new(meter: &Meter) -> Self {
        let known = Arc::<Mutex<Vec<Arc<TierCalls>>>>::default();
        let all = |known: &Mutex<Vec<Arc<TierCalls>>>, of: &dyn Fn(&TierCalls)| {
            let known = known.lock().unwrap_or_else(PoisonError::into_inner);
            known.iter().for_each(|tier| of(tier));
        };
        let tiers = Arc::clone(&known);
        catalog::OPERATIONS.observe(meter, move |counter| {
            all(&tiers, &|tier| tier.report_calls(counter));
        });
        let tiers = Arc::clone(&known);
        catalog::LOOKUPS.observe(meter, move |counter| {
            all(&tiers, &|tier| tier.report_keys(counter));
        });
        let tiers = Arc::clone(&known);
        catalog::FAILED_KEYS.observe(meter, move |counter| {
            all(&tiers, &|tier| tier.report_failed_keys(counter));
        });
        let tiers = Arc::clone(&known);
        catalog::BATCH_KEYS.observe(meter, move |counter| {
            all(&tiers, &|tier| tier.report_batch_keys(counter));
        });
        Self {
            known,
            operations: catalog::DURATION.histogram(meter),
            client_operations: catalog::CLIENT_DURATION.histogram(meter),
        }
    }

    /// Returns the calls of `tier`. Layers with the same labels share their counts.
    pub(super) fn calls(
        &self,
        tier: Tier,
        system: Option<&'static str>,
        server: Option<(String, u16)>,
    ) -> Arc<TierCalls> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let alike =
            |calls: &&Arc<TierCalls>| calls.tier == tier && calls.system == system && calls.server == server;
        if let Some(calls) = known.iter().find(alike) {
            return Arc::clone(calls);
        }
        let durations = match system {
            None => &self.operations,
            Some(_) => &self.client_operations,
        };
        let calls = Arc::new(TierCalls::new(tier, system, server, durations.clone()));
        known.push(Arc::clone(&calls));
        calls
    }
}

/// The measurements of the calls of one tier.
#[derive(Debug)]
pub(crate) struct TierCalls {
    tier: Tier,
    /// The system that the calls go to, if it is known.
    system: Option<&'static str>,
    /// The server that the calls go to, if there is only one.
    server: Option<(String, u16)>,
    counts: Tally<{ SERIES + 5 + Operation::COUNT }>,
    durations: Histogram<f64>,
    /// The labels of a duration, created on first use.
    labels: Box<[OnceLock<Box<[KeyValue]>>]>,
}

impl TierCalls {
    fn new(
        tier: Tier,
        system: Option<&'static str>,
        server: Option<(String, u16)>,
        durations: Histogram<f64>,
    ) -> Self {
        Self {
            tier,
            system,
            server,
            counts: Tally::default(),
            durations,
            labels: (0..SERIES).map(|_| OnceLock::new()).collect(),
        }
    }

    pub(crate) const fn tier(&self) -> Tier {
        self.tier
    }

    pub(crate) const fn system(&self) -> Option<&'static str> {
        self.system
    }

    /// Records that a call ended, and how long it took if that was measured.
    #[inline]
    pub(crate) fn ended(&self, operation: Operation, outcome: Outcome, took: Option<Duration>) {
        let series = series(operation, outcome);
        self.counts.add(series, 1);
        if let Some(took) = took {
            let labels = self.labels[series].get_or_init(|| {
                let mut labels = labels(self.tier, operation, outcome);
                if let Some(system) = self.system {
                    labels.push(KeyValue::new(catalog::SYSTEM.name, system));
                }
                if let Some((host, port)) = &self.server {
                    labels.push(KeyValue::new(catalog::SERVER_ADDRESS.name, host.clone()));
                    labels.push(KeyValue::new(catalog::SERVER_PORT.name, i64::from(*port)));
                }
                labels.into()
            });
            self.durations.record(took.as_secs_f64(), labels);
        }
    }

    /// Records how many keys a call with any number of keys has.
    pub(crate) fn batch_begun(&self, operation: Operation, keys: usize) {
        if BATCHES.contains(&operation) {
            self.counts.add(BATCH_KEYS + operation as usize, keys as u64);
        }
    }

    /// Records how many keys of a batch had a value, and how many did not.
    pub(crate) fn looked_up(&self, hits: u64, misses: u64) {
        self.counts.add(KEYS_HIT, hits);
        self.counts.add(KEYS_MISSED, misses);
    }

    /// Records how many keys failed in a call with one result per key.
    pub(crate) fn keys_failed(&self, operation: Operation, keys: u64) {
        let place = FAILED_KEYS.iter().find(|(of, _)| *of == operation);
        if let Some((_, place)) = place {
            self.counts.add(*place, keys);
        }
    }

    fn report_batch_keys(&self, counter: &dyn AsyncInstrument<u64>) {
        for operation in BATCHES {
            let count = self.counts.sum(BATCH_KEYS + operation as usize);
            if count > 0 {
                counter.observe(count, &self.labels_of(operation));
            }
        }
    }

    fn report_failed_keys(&self, counter: &dyn AsyncInstrument<u64>) {
        for (operation, failed) in FAILED_KEYS {
            let count = self.counts.sum(failed);
            if count > 0 {
                counter.observe(count, &self.labels_of(operation));
            }
        }
    }

    fn labels_of(&self, operation: Operation) -> [KeyValue; 2] {
        [
            KeyValue::new(catalog::TIER.name, self.tier.name()),
            KeyValue::new(catalog::OPERATION.name, operation.name()),
        ]
    }

    fn report_calls(&self, counter: &dyn AsyncInstrument<u64>) {
        for &operation in Operation::ALL {
            for &outcome in Outcome::ALL {
                let count = self.counts.sum(series(operation, outcome));
                if count > 0 {
                    counter.observe(count, &labels(self.tier, operation, outcome));
                }
            }
        }
    }

    fn report_keys(&self, counter: &dyn AsyncInstrument<u64>) {
        let single = |outcome| {
            let of = |operation| self.counts.sum(series(operation, outcome));
            of(Operation::Get)
                + of(Operation::GetEntry)
                + of(Operation::GetAndDelete)
                + of(Operation::GetAndExpire)
        };
        let keys = [
            ("hit", single(Outcome::Hit) + self.counts.sum(KEYS_HIT)),
            ("miss", single(Outcome::Miss) + self.counts.sum(KEYS_MISSED)),
        ];
        for (found, count) in keys.into_iter().filter(|(_, count)| *count > 0) {
            let labels = [
                KeyValue::new(catalog::TIER.name, self.tier.name()),
                KeyValue::new(catalog::FOUND.name, found),
            ];
            counter.observe(count, &labels);
        }
    }
}

#[inline]
const fn series(operation: Operation, outcome: Outcome) -> usize {
    operation as usize * Outcome::COUNT + outcome as usize
}

fn labels(tier: Tier, operation: Operation, outcome: Outcome) -> Vec<KeyValue> {
    let mut labels = vec![
        KeyValue::new(catalog::TIER.name, tier.name()),
        KeyValue::new(catalog::OPERATION.name, operation.name()),
        KeyValue::new(catalog::OUTCOME.name, outcome.label()),
    ];
    if let Some(error) = outcome.error_type() {
        labels.push(KeyValue::new(catalog::ERROR.name, error));
    }
    labels
}
