//! The near tier, scenario by scenario, in virtual time.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where its preparations fail"
)]

mod conformance;
mod interleavings;
mod line;
mod many_keys;
mod missing_keys;
mod model;
mod own_writes;
mod reports;
mod rig;
mod single_flight;
mod tracking;
