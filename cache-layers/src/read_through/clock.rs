//! The one place of a read-through that asks for the time of day.
//!
//! An envelope's times are compared by other processes than the one that wrote them, so they are wall
//! time. All waiting is by [`cache_core::clock`], which is monotonic, and not in here.

use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells the time of day.
///
/// Implement it to hold the time still in a test. Machines whose clocks differ see a value expire by as
/// much too early or too late; nothing else depends on their agreeing.
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

/// Whole milliseconds, the unit of the envelope.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
