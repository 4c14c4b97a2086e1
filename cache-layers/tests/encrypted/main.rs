//! The layer that encrypts, and its keyring.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where its preparations fail"
)]

mod conditional;
mod conformance;
mod counters;
mod discretion;
mod each;
mod golden;
mod log;
mod migration;
mod recipes;
mod refresh;
mod refused;
mod rig;
mod rotation;
mod store;
mod unreadable;
