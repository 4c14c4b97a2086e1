//! Metrics of guards, and of the current state of their circuits.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use super::catalog::{self, Metric};
use super::watch::Watch;
use crate::guarded::{BreakerState, GuardStats, Guarded};

/// One counter of a guard.
type Count = fn(&GuardStats) -> u64;

/// Any number of guards.
#[derive(Debug)]
pub(super) struct GuardMetrics {
    guards: Arc<Watch<Guarded, GuardStats>>,
}

impl GuardMetrics {
    pub(super) fn new(meter: &Meter) -> Self {
        let metrics = Self {
            guards: Arc::new(Watch::new(Guarded::stats)),
        };
        let totals: [(Metric, Count); 8] = [
            (catalog::GUARD_CALLS, |stats| stats.calls),
            (catalog::GUARD_FAILURES, |stats| stats.failures),
            (catalog::GUARD_TIMEOUTS, |stats| stats.timeouts),
            (catalog::GUARD_SLOW, |stats| stats.slow),
            (catalog::GUARD_SHED, |stats| stats.shed),
            (catalog::GUARD_BYPASSED, |stats| stats.bypassed),
            (catalog::GUARD_OPENED, |stats| stats.opened),
            (catalog::GUARD_PROBES, |stats| stats.probes),
        ];
        for (metric, of) in totals {
            let guards = Arc::clone(&metrics.guards);
            metric.observe(meter, move |counter| counter.observe(guards.total(of), &[]));
        }
        let guards = Arc::clone(&metrics.guards);
        catalog::GUARD_STATE.observe_level(meter, move |level| {
            for &state in catalog::STATE.values {
                let count = guards.level(|guard| u64::from(name(guard.state()) == state));
                level(count, &[KeyValue::new(catalog::STATE.name, state)]);
            }
        });
        metrics
    }

    pub(super) fn watch(&self, guard: &Arc<Guarded>) {
        self.guards.add(guard);
    }
}

const fn name(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "closed",
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half_open",
    }
}
