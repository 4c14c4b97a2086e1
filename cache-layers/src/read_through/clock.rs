//! The time of day of a read-through.
//!
//! An envelope's times are compared by other processes than the one that wrote them, so they are wall
//! time. Machines whose clocks differ see a value expire by as much too early or too late; nothing else
//! depends on their agreeing.

use std::time::Duration;

pub use crate::clock::{SystemClock, WallClock};

/// Whole milliseconds, the unit of the envelope.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
