//! Metrics of recipes: one listener for the events of all of them.
//!
//! Not in here: what is counted of read-throughs, see `read_through.rs`.

use std::time::Duration;

use cache_core::CacheError;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};

use super::catalog;
use super::labels::{
    Decision, GenerationSource, IdempotencyEnd, IdempotencyResult, LockEnd, LockResult, Recipe,
};
use super::read_through::ReadThroughMetrics;
use super::sums::{Failures, Sums};
use crate::generations::GenerationsEvent;
use crate::idempotency::{Completion, IdempotencyEvent};
use crate::listener::Listener;
use crate::lock::{LockEvent, Loss};
use crate::rate_limiter::RateLimiterEvent;
use crate::read_through::ReadThroughEvent;

/// Counts and times the events of any number of each of them.
#[derive(Debug)]
pub(super) struct RecipeMetrics {
    read_through: ReadThroughMetrics,
    lock_results: Sums<{ LockResult::COUNT }>,
    lock_waits: Histogram<f64>,
    lock_ends: Sums<{ LockEnd::COUNT }>,
    locks_held: Histogram<f64>,
    idempotency_results: Sums<{ IdempotencyResult::COUNT }>,
    idempotency_ends: Sums<{ IdempotencyEnd::COUNT }>,
    decisions: Sums<{ Decision::COUNT }>,
    generation_reads: Sums<{ GenerationSource::COUNT }>,
    generation_bumps: Sums<1>,
    generation_beginnings: Sums<1>,
    /// By the number of the recipe.
    failures: [Failures; Recipe::COUNT],
}

/// Reports the counts of all labels of one list.
macro_rules! report_all {
    ($sums:expr, $meter:expr, $metric:ident by $attribute:ident, $label:ident) => {
        let series = $label::ALL.iter().map(|label| (*label as usize, label.name()));
        $sums.report_by($meter, catalog::$metric, catalog::$attribute, series);
    };
}

impl RecipeMetrics {
    pub(super) fn new(meter: &Meter) -> Self {
        let metrics = Self {
            read_through: ReadThroughMetrics::new(meter),
            lock_results: Sums::default(),
            lock_waits: catalog::LOCK_WAIT.histogram(meter),
            lock_ends: Sums::default(),
            locks_held: catalog::LOCK_HELD.histogram(meter),
            idempotency_results: Sums::default(),
            idempotency_ends: Sums::default(),
            decisions: Sums::default(),
            generation_reads: Sums::default(),
            generation_bumps: Sums::default(),
            generation_beginnings: Sums::default(),
            failures: Default::default(),
        };
        report_all!(metrics.lock_results, meter, LOCK_REQUESTS by LOCK_RESULT, LockResult);
        report_all!(metrics.lock_ends, meter, LOCK_ENDS by LOCK_END, LockEnd);
        report_all!(metrics.idempotency_results, meter, IDEMPOTENCY_REQUESTS by IDEMPOTENCY_RESULT, IdempotencyResult);
        report_all!(metrics.idempotency_ends, meter, IDEMPOTENCY_ENDS by IDEMPOTENCY_END, IdempotencyEnd);
        report_all!(metrics.decisions, meter, RATE_LIMITER_CALLS by DECISION, Decision);
        report_all!(metrics.generation_reads, meter, GENERATION_READS by GENERATION_SOURCE, GenerationSource);
        metrics
            .generation_bumps
            .report(meter, catalog::GENERATION_BUMPS, 0);
        metrics
            .generation_beginnings
            .report(meter, catalog::GENERATION_BEGINNINGS, 0);
        let failures = metrics.failures.clone();
        catalog::RECIPE_FAILURES.observe(meter, move |counter| {
            for (recipe, failures) in Recipe::ALL.iter().zip(&failures) {
                let recipe = KeyValue::new(catalog::RECIPE.name, recipe.name());
                failures.each(|count, kind| counter.observe(count, &[recipe.clone(), kind]));
            }
        });
        metrics
    }

    fn failed(&self, recipe: Recipe, error: &CacheError) {
        self.failures[recipe as usize].count(error);
    }

    fn lock_requested(&self, result: LockResult, waited: Duration) {
        self.lock_results.count(result as usize);
        let labels = [KeyValue::new(catalog::LOCK_RESULT.name, result.name())];
        self.lock_waits.record(waited.as_secs_f64(), &labels);
    }

    fn lock_ended(&self, end: LockEnd, held: Duration) {
        self.lock_ends.count(end as usize);
        let labels = [KeyValue::new(catalog::LOCK_END.name, end.name())];
        self.locks_held.record(held.as_secs_f64(), &labels);
    }
}

impl Listener<ReadThroughEvent> for RecipeMetrics {
    fn on_event(&self, event: &ReadThroughEvent) {
        self.read_through.on_event(event);
    }
}

impl Listener<LockEvent> for RecipeMetrics {
    fn on_event(&self, event: &LockEvent) {
        match event {
            LockEvent::Acquired { waited } => self.lock_requested(LockResult::Acquired, *waited),
            LockEvent::Taken { waited } => self.lock_requested(LockResult::Taken, *waited),
            LockEvent::Failed { error, waited } => {
                self.lock_requested(LockResult::Failed, *waited);
                self.failed(Recipe::Lock, error);
            }
            LockEvent::Released { held } => self.lock_ended(LockEnd::Released, *held),
            LockEvent::Lost { loss, held } => {
                let end = match loss {
                    Loss::Expired => LockEnd::Expired,
                    Loss::Gone => LockEnd::Gone,
                };
                self.lock_ended(end, *held);
            }
        }
    }
}

impl Listener<IdempotencyEvent> for RecipeMetrics {
    fn on_event(&self, event: &IdempotencyEvent) {
        let result = |result| self.idempotency_results.count(result as usize);
        let end = |end| self.idempotency_ends.count(end as usize);
        let result_of_failure = |told: IdempotencyResult, error| {
            result(told);
            self.failed(Recipe::Idempotency, error);
        };
        match event {
            IdempotencyEvent::Run => result(IdempotencyResult::Run),
            IdempotencyEvent::Unprotected { error } => {
                result_of_failure(IdempotencyResult::Unprotected, error);
            }
            IdempotencyEvent::InProgress => result(IdempotencyResult::InProgress),
            IdempotencyEvent::Replayed => result(IdempotencyResult::Replayed),
            IdempotencyEvent::NotReplayable => result(IdempotencyResult::NotReplayable),
            IdempotencyEvent::Mismatch => result(IdempotencyResult::Mismatch),
            IdempotencyEvent::Failed { error } => result_of_failure(IdempotencyResult::Failed, error),
            IdempotencyEvent::Completed { completion } => end(match completion {
                Completion::Stored => IdempotencyEnd::Stored,
                Completion::NotKept => IdempotencyEnd::NotKept,
                Completion::Overtaken => IdempotencyEnd::Overtaken,
                // A run without protection is not reported here.
                Completion::Unprotected => return,
            }),
            IdempotencyEvent::Released => end(IdempotencyEnd::Released),
            IdempotencyEvent::NotStored { error } => {
                end(IdempotencyEnd::NotStored);
                self.failed(Recipe::Idempotency, error);
            }
        }
    }
}

impl Listener<RateLimiterEvent> for RecipeMetrics {
    fn on_event(&self, event: &RateLimiterEvent) {
        let decision = match event {
            RateLimiterEvent::Allowed => Decision::Allowed,
            RateLimiterEvent::Denied { from_memory: false } => Decision::Denied,
            RateLimiterEvent::Denied { from_memory: true } => Decision::DeniedFromMemory,
            RateLimiterEvent::Uncounted { error } => {
                self.failed(Recipe::RateLimiter, error);
                Decision::Uncounted
            }
        };
        self.decisions.count(decision as usize);
    }
}

impl Listener<GenerationsEvent> for RecipeMetrics {
    fn on_event(&self, event: &GenerationsEvent) {
        match event {
            GenerationsEvent::Known => self.generation_reads.count(GenerationSource::Memory as usize),
            GenerationsEvent::Read => self.generation_reads.count(GenerationSource::Cache as usize),
            GenerationsEvent::Bumped => self.generation_bumps.count(0),
            GenerationsEvent::Begun => self.generation_beginnings.count(0),
            GenerationsEvent::Failed { error } => self.failed(Recipe::Generations, error),
        }
    }
}
