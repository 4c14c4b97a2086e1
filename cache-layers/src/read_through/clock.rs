//! The time of day of a read-through.
//!
//! Other processes than the writer compare an envelope's times, so these are wall time. If clocks differ, a value
//! expires too early or too late by the difference. Nothing else depends on equal clocks.

use std::time::Duration;

pub use crate::clock::{SystemClock, WallClock};

/// Whole milliseconds, the unit of the envelope.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
