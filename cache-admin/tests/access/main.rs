//! The doors of the administration service: who is let in, what sealed tokens are worth, and what the listener
//! does with those who knock.

#![cfg(feature = "http")]
#![expect(
    clippy::expect_used,
    reason = "what is set up here is sound, or the test is over"
)]
#![expect(clippy::unwrap_used, reason = "as above")]

mod actors;
mod authorities;
mod granted;
mod listening;
mod sealed;
mod secured;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cache_layers::WallClock;

/// A time of day that a test sets.
#[derive(Clone, Debug, Default)]
struct Held(Arc<Mutex<Duration>>);

impl Held {
    fn at(seconds: u64) -> Self {
        Self(Arc::new(Mutex::new(Duration::from_secs(seconds))))
    }

    fn pass(&self, time: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }
}

impl WallClock for Held {
    fn since_epoch(&self) -> Duration {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
