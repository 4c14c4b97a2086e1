//! The layer that encrypts, and its keyring.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test ends where its preparations fail"
)]

mod conformance;
mod rig;
mod store;
