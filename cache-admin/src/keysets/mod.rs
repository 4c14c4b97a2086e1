//! Administration of encryption keysets: changes one at a time, each no earlier than the rotation schedule allows.
//!
//! [`KeysetAdmin`] changes a keyset where it is stored and notes when it did; [`RotationSchedule`] says from these
//! times which step comes next, when it is due, and what would break if it came earlier.
//!
//! Not in here: what a keyset looks like inside and which changes are possible at all, see `cache_layers::keyset`.

mod admin;
mod schedule;
mod times;

#[cfg(test)]
mod tests;

pub use admin::{Changed, Early, KeysetAdmin, KeysetChange, KeysetError, KeysetView};
pub use schedule::{Due, RotationSchedule, RotationStep};
pub use times::{KeyTimes, KeysetTimes, Moment};
