//! What a read-through does, as metrics: a listener for its events.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};

use super::catalog::{self, Attribute, Metric};
use super::labels::Outcome;
use super::tally::Tally;
use crate::read_through::{LoadOutcome, ReadThroughEvent, ReadThroughListener};

/// Counts and times the events of any number of read-throughs.
#[derive(Debug)]
pub(super) struct ReadThroughMetrics {
    counts: Arc<Tally<{ Count::COUNT + Outcome::COUNT }>>,
    loads: Histogram<f64>,
    lease_waits: Histogram<f64>,
}

/// What is counted; behind them, failures of the cache by their kind.
#[derive(Clone, Copy)]
enum Count {
    Hit,
    Negative,
    Stale,
    Joined,
    Load,
    Refresh,
    WithoutLease,
    HeldBack,
    Superseded,
    Oversize,
    Unencodable,
    Undecodable,
}

impl Count {
    const COUNT: usize = Self::Undecodable as usize + 1;
}

impl ReadThroughMetrics {
    pub(super) fn new(meter: &Meter) -> Self {
        let metrics = Self {
            counts: Arc::default(),
            loads: catalog::LOAD_DURATION.histogram(meter),
            lease_waits: catalog::LEASE_WAIT.histogram(meter),
        };
        let answers = &[
            (Count::Hit, "hit"),
            (Count::Negative, "negative"),
            (Count::Stale, "stale"),
        ];
        metrics.sums(meter, catalog::ANSWERS, Some(catalog::ANSWER), answers);
        let loads = &[(Count::Load, "load"), (Count::Refresh, "refresh")];
        metrics.sums(meter, catalog::LOADS, Some(catalog::LOAD), loads);
        metrics.sums(meter, catalog::JOINED, None, &[(Count::Joined, "")]);
        metrics.sums(meter, catalog::WITHOUT_LEASE, None, &[(Count::WithoutLease, "")]);
        metrics.sums(meter, catalog::HELD_BACK, None, &[(Count::HeldBack, "")]);
        metrics.sums(meter, catalog::SUPERSEDED, None, &[(Count::Superseded, "")]);
        metrics.sums(meter, catalog::OVERSIZE, None, &[(Count::Oversize, "")]);
        metrics.sums(meter, catalog::UNENCODABLE, None, &[(Count::Unencodable, "")]);
        metrics.sums(meter, catalog::UNDECODABLE, None, &[(Count::Undecodable, "")]);
        let counts = Arc::clone(&metrics.counts);
        catalog::CACHE_FAILURES.observe(meter, move |counter| {
            for &outcome in Outcome::ALL {
                let count = counts.sum(Count::COUNT + outcome as usize);
                if let (Some(kind), true) = (outcome.error_type(), count > 0) {
                    counter.observe(count, &[KeyValue::new(catalog::ERROR.name, kind)]);
                }
            }
        });
        metrics
    }

    /// Hands out counts as `metric`, each with its value of `attribute`, if there is one.
    fn sums(
        &self,
        meter: &Meter,
        metric: Metric,
        attribute: Option<Attribute>,
        series: &'static [(Count, &'static str)],
    ) {
        let counts = Arc::clone(&self.counts);
        metric.observe(meter, move |counter| {
            for (count, value) in series {
                let label = attribute.map(|attribute| KeyValue::new(attribute.name, *value));
                counter.observe(counts.sum(*count as usize), label.as_slice());
            }
        });
    }

    fn count(&self, what: Count) {
        self.counts.add(what as usize, 1);
    }

    fn load_ended(&self, refresh: bool, outcome: LoadOutcome, took: Duration) {
        let labels = [
            KeyValue::new(catalog::LOAD.name, if refresh { "refresh" } else { "load" }),
            KeyValue::new(catalog::LOAD_OUTCOME.name, outcome_name(outcome)),
        ];
        self.loads.record(took.as_secs_f64(), &labels);
    }
}

impl ReadThroughListener for ReadThroughMetrics {
    fn on_event(&self, event: &ReadThroughEvent) {
        match event {
            ReadThroughEvent::Hit { negative: false } => self.count(Count::Hit),
            ReadThroughEvent::Hit { negative: true } => self.count(Count::Negative),
            ReadThroughEvent::Stale => self.count(Count::Stale),
            ReadThroughEvent::Joined => self.count(Count::Joined),
            ReadThroughEvent::LoadStarted { refresh: false } => self.count(Count::Load),
            ReadThroughEvent::LoadStarted { refresh: true } => self.count(Count::Refresh),
            ReadThroughEvent::LoadEnded {
                refresh,
                outcome,
                took,
            } => self.load_ended(*refresh, *outcome, *took),
            ReadThroughEvent::LeaseWait { took } => self.lease_waits.record(took.as_secs_f64(), &[]),
            ReadThroughEvent::WithoutLease => self.count(Count::WithoutLease),
            ReadThroughEvent::HeldBack => self.count(Count::HeldBack),
            ReadThroughEvent::Superseded => self.count(Count::Superseded),
            ReadThroughEvent::Oversize { .. } => self.count(Count::Oversize),
            ReadThroughEvent::Unencodable { .. } => self.count(Count::Unencodable),
            ReadThroughEvent::Undecodable { .. } => self.count(Count::Undecodable),
            ReadThroughEvent::CacheFailed { error } => {
                self.counts
                    .add(Count::COUNT + Outcome::of_error(error) as usize, 1);
            }
        }
    }
}

const fn outcome_name(outcome: LoadOutcome) -> &'static str {
    match outcome {
        LoadOutcome::Value => "value",
        LoadOutcome::Absent => "absent",
        LoadOutcome::Failed => "failed",
        LoadOutcome::Panicked => "panicked",
        LoadOutcome::TimedOut => "timed_out",
        LoadOutcome::GivenUp => "given_up",
    }
}
