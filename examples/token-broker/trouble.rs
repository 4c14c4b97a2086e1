//! Whether the cache failed a moment ago: then tokens come from this process's memory where it has them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_layers::Listener;
use cache_layers::read_through::ReadThroughEvent;

/// Hears of the cache's failures, before the load that goes on without it begins.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Mutex<Option<Instant>>);

/// How long a failure counts: as long as a breaker takes to find out that the cache is back.
const RECENT: Duration = Duration::from_secs(2);

impl Trouble {
    pub(crate) fn is_recent(&self) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| clock::now() - last < RECENT)
    }
}

impl Listener<ReadThroughEvent> for Trouble {
    fn on_event(&self, event: &ReadThroughEvent) {
        if matches!(
            event,
            ReadThroughEvent::CacheFailed { .. } | ReadThroughEvent::WithoutLease
        ) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock::now());
        }
    }
}
