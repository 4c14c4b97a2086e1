//! Counts of a closed list of things, reported as counters when metrics are collected.

use std::sync::Arc;

use cache_core::CacheError;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use super::catalog::{self, Attribute, Metric};
use super::labels::Outcome;
use super::tally::Tally;

/// `N` counts, by the number of the thing that is counted.
#[derive(Debug)]
pub(super) struct Sums<const N: usize>(Arc<Tally<N>>);

impl<const N: usize> Default for Sums<N> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<const N: usize> Sums<N> {
    pub(super) fn count(&self, what: usize) {
        self.0.add(what, 1);
    }

    /// Reports one count as `metric`.
    pub(super) fn report(&self, meter: &Meter, metric: Metric, what: usize) {
        let counts = Arc::clone(&self.0);
        metric.observe(meter, move |counter| counter.observe(counts.sum(what), &[]));
    }

    /// Reports several counts as `metric`, each with its value of `attribute`.
    pub(super) fn report_by(
        &self,
        meter: &Meter,
        metric: Metric,
        attribute: Attribute,
        series: impl IntoIterator<Item = (usize, &'static str)>,
    ) {
        let counts = Arc::clone(&self.0);
        let series: Vec<_> = series.into_iter().collect();
        metric.observe(meter, move |counter| {
            for (what, value) in &series {
                counter.observe(counts.sum(*what), &[KeyValue::new(attribute.name, *value)]);
            }
        });
    }
}

/// Failures of the cache, by their kind. Clones share their counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Failures(Arc<Tally<{ Outcome::COUNT }>>);

impl Failures {
    pub(super) fn count(&self, error: &CacheError) {
        self.0.add(Outcome::of_error(error) as usize, 1);
    }

    /// Calls `observe` with each kind that occurred, and its count.
    pub(super) fn each(&self, mut observe: impl FnMut(u64, KeyValue)) {
        for &outcome in Outcome::ALL {
            let count = self.0.sum(outcome as usize);
            if let (Some(kind), true) = (outcome.error_type(), count > 0) {
                observe(count, KeyValue::new(catalog::ERROR.name, kind));
            }
        }
    }
}
