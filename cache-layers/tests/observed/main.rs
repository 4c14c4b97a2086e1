//! The layer that observes, and the metrics, as an SDK collects them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where its preparations fail"
)]

mod catalogue;
mod conformance;
mod discretion;
mod every_call;
mod layers;
#[path = "../encrypted/log.rs"]
#[expect(dead_code, reason = "the tests of encryption count lines, too")]
mod log;
mod outcomes;
mod recipes;
mod rig;
mod spans;
#[cfg(feature = "encryption")]
#[path = "../encrypted/store.rs"]
#[expect(dead_code, reason = "the tests of the layer use all of it")]
mod store;
