//! The only place in the layers that reads the time of day.
//!
//! Processes compare wall time with each other. All waiting uses [`cache_core::clock`], which is monotonic, and is
//! not in here.

use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the time of day.
///
/// Implement it to stop the time in a test. Code that depends on equal clocks of machines says so.
pub trait WallClock: Debug + Send + Sync + 'static {
    /// Returns the time since 1970-01-01 00:00 UTC.
    fn since_epoch(&self) -> Duration;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn since_epoch(&self) -> Duration {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO)
    }
}
