//! The one place of the layers that asks for the time of day.
//!
//! What other processes compare is wall time. All waiting is by [`cache_core::clock`], which is monotonic, and
//! not in here.

use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells the time of day.
///
/// Implement it to hold the time still in a test. What depends on the clocks of machines agreeing says so.
pub trait WallClock: Debug + Send + Sync + 'static {
    /// The time that has passed since 1970-01-01 00:00 UTC.
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
