//! One observed call: from its first poll to its answer, or until it is dropped.

use cache_core::clock::Instant;
use tracing::Span;
use tracing::field::Empty;

use crate::metrics::{Operation, Outcome, Sampler, TierCalls};

/// Ends as cancelled if it is dropped before another end is recorded.
pub(super) struct Call<'a> {
    calls: &'a TierCalls,
    operation: Operation,
    begun: Option<Instant>,
    outcome: Outcome,
    span: Span,
}

impl<'a> Call<'a> {
    pub(super) fn begin(calls: &'a TierCalls, sampler: &Sampler, operation: Operation, keys: usize) -> Self {
        calls.batch_begun(operation, keys);
        Self {
            calls,
            operation,
            begun: sampler.pick(),
            outcome: Outcome::Cancelled,
            span: span(calls, operation, keys),
        }
    }

    /// The span of the call, if a subscriber wants it.
    pub(super) fn span(&self) -> Option<Span> {
        (!self.span.is_disabled()).then(|| self.span.clone())
    }

    pub(super) fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    /// As [`end`](Self::end), for a call of which `failed` keys failed.
    pub(super) fn end_with_failed_keys(self, outcome: Outcome, failed: u64) {
        self.span.record("cache.failed_keys", failed);
        self.end(outcome);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.calls.ended(
            self.operation,
            self.outcome,
            self.begun.map(|begun| begun.elapsed()),
        );
        if !self.span.is_disabled() {
            self.span.record("cache.outcome", self.outcome.label());
            if let Some(error) = self.outcome.error_type() {
                self.span.record("error.type", error);
                self.span.record("otel.status_code", "ERROR");
            }
        }
    }
}

/// The span of a call. It names no key, and only the kind of an error.
fn span(calls: &TierCalls, operation: Operation, keys: usize) -> Span {
    let system = calls.system();
    tracing::debug_span!(
        "cache.operation",
        otel.name = operation.name(),
        otel.kind = if system.is_some() { "client" } else { "internal" },
        otel.status_code = Empty,
        cache.tier = calls.tier().name(),
        db.system.name = system,
        db.operation.name = operation.name(),
        cache.keys = keys,
        cache.failed_keys = Empty,
        cache.outcome = Empty,
        error.type = Empty,
    )
}
