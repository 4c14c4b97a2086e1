//! Metrics of read-throughs: a listener for their events.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};

use super::catalog;
use super::sums::{Failures, Sums};
use crate::listener::Listener;
use crate::read_through::{LoadOutcome, ReadThroughEvent};

/// Counts and times the events of any number of read-throughs.
#[derive(Debug)]
pub(super) struct ReadThroughMetrics {
    sums: Sums<{ Count::Undecodable as usize + 1 }>,
    failures: Failures,
    loads: Histogram<f64>,
    lease_waits: Histogram<f64>,
}

/// What is counted.
#[derive(Clone, Copy)]
enum Count {
    Hit,
    Negative,
    Stale,
    Missed,
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

impl ReadThroughMetrics {
    pub(super) fn new(meter: &Meter) -> Self {
        let sums = Sums::default();
        let answers = [
            (Count::Hit as usize, "hit"),
            (Count::Negative as usize, "negative"),
            (Count::Stale as usize, "stale"),
            (Count::Missed as usize, "miss"),
        ];
        sums.report_by(meter, catalog::ANSWERS, catalog::ANSWER, answers);
        let loads = [
            (Count::Load as usize, "load"),
            (Count::Refresh as usize, "refresh"),
        ];
        sums.report_by(meter, catalog::LOADS, catalog::LOAD, loads);
        for (metric, count) in [
            (catalog::JOINED, Count::Joined),
            (catalog::WITHOUT_LEASE, Count::WithoutLease),
            (catalog::HELD_BACK, Count::HeldBack),
            (catalog::SUPERSEDED, Count::Superseded),
            (catalog::OVERSIZE, Count::Oversize),
            (catalog::UNENCODABLE, Count::Unencodable),
            (catalog::UNDECODABLE, Count::Undecodable),
        ] {
            sums.report(meter, metric, count as usize);
        }
        let failures = Failures::default();
        let counted = failures.clone();
        catalog::CACHE_FAILURES.observe(meter, move |counter| {
            counted.each(|count, kind| counter.observe(count, &[kind]));
        });
        Self {
            sums,
            failures,
            loads: catalog::LOAD_DURATION.histogram(meter),
            lease_waits: catalog::LEASE_WAIT.histogram(meter),
        }
    }

    fn count(&self, what: Count) {
        self.sums.count(what as usize);
    }

    fn load_ended(&self, refresh: bool, outcome: LoadOutcome, took: Duration) {
        let labels = [
            KeyValue::new(catalog::LOAD.name, if refresh { "refresh" } else { "load" }),
            KeyValue::new(catalog::LOAD_OUTCOME.name, outcome_name(outcome)),
        ];
        self.loads.record(took.as_secs_f64(), &labels);
    }
}

impl Listener<ReadThroughEvent> for ReadThroughMetrics {
    fn on_event(&self, event: &ReadThroughEvent) {
        match event {
            ReadThroughEvent::Hit { negative: false } => self.count(Count::Hit),
            ReadThroughEvent::Hit { negative: true } => self.count(Count::Negative),
            ReadThroughEvent::Stale => self.count(Count::Stale),
            ReadThroughEvent::Missed => self.count(Count::Missed),
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
            ReadThroughEvent::CacheFailed { error } => self.failures.count(error),
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
