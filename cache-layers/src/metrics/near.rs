//! Metrics of near caches.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use super::catalog::{self, Metric};
use super::watch::Watch;
use crate::near::{NearSource, NearStats, NearStatus};

/// One counter of a near cache.
type Count = fn(&NearStats) -> u64;

/// A near cache of any kind.
type Source = dyn NearSource;

/// Any number of near caches.
#[derive(Debug)]
pub(super) struct NearMetrics {
    tiers: Arc<Watch<Source, NearStats>>,
}

impl NearMetrics {
    pub(super) fn new(meter: &Meter) -> Self {
        let metrics = Self {
            tiers: Arc::new(Watch::new(|tier: &Source| tier.stats())),
        };
        let tiers = Arc::clone(&metrics.tiers);
        catalog::NEAR_LOOKUPS.observe(meter, move |counter| {
            let results: [(&str, Count); 3] = [
                ("hit", |stats| stats.hits),
                ("miss", |stats| stats.misses),
                ("joined", |stats| stats.joined),
            ];
            for (result, count) in results {
                counter.observe(tiers.total(count), &[KeyValue::new(catalog::FOUND.name, result)]);
            }
        });
        metrics.total(meter, catalog::NEAR_EVICTIONS, |stats| stats.evictions);
        metrics.total(meter, catalog::NEAR_INVALIDATIONS, |stats| stats.invalidations);
        metrics.total(meter, catalog::NEAR_POISONED, |stats| stats.poisoned);
        metrics.total(meter, catalog::NEAR_RESETS, |stats| stats.resets);
        metrics.level(meter, catalog::NEAR_ENTRIES, |tier| tier.stats().entries);
        metrics.level(meter, catalog::NEAR_SIZE, |tier| tier.stats().bytes);
        let tiers = Arc::clone(&metrics.tiers);
        catalog::NEAR_STATUS.observe_level(meter, move |level| {
            for &status in catalog::STATUS.values {
                let count = tiers.level(|tier| u64::from(name(&tier.status()) == status));
                level(count, &[KeyValue::new(catalog::STATUS.name, status)]);
            }
        });
        metrics
    }

    pub(super) fn watch(&self, tier: &Arc<Source>) {
        self.tiers.add(tier);
    }

    fn total(&self, meter: &Meter, metric: Metric, of: Count) {
        let tiers = Arc::clone(&self.tiers);
        metric.observe(meter, move |counter| counter.observe(tiers.total(of), &[]));
    }

    fn level(&self, meter: &Meter, metric: Metric, of: fn(&Source) -> u64) {
        let tiers = Arc::clone(&self.tiers);
        metric.observe_level(meter, move |level| level(tiers.level(of), &[]));
    }
}

const fn name(status: &NearStatus) -> &'static str {
    match status {
        NearStatus::Tracked => "tracked",
        NearStatus::PartlyTracked => "partly_tracked",
        NearStatus::ShortLived { .. } => "short_lived",
        NearStatus::Bypassed { .. } => "bypassed",
    }
}
