//! The conformance suite: the contract's promises, as one async function each, to run against every client,
//! bare and layered.
//!
//! A crate with a client enables the feature `conformance` for its tests and generates a named test for each
//! scenario:
//!
//! ```
//! # #[cfg(test)] // the tests that this makes exist in test builds only
//! cache_core::conformance_tests! {
//!     mod memory in virtual time = async {
//!         Subject::new(MemoryCache::default())
//!     };
//! }
//! ```
//!
//! `in virtual time` is for clients inside this process that use [`clock`](crate::clock): scenarios about
//! TTLs then take no real time. `in real time` is for clients of a server. The future creates a new
//! [`Subject`] for each scenario.
//!
//! Some backends do not support every scenario, so a test requests these by name; the list of tests then
//! shows what is not tested. `mod cluster in real time with outage` also runs the scenarios that make a
//! primary unreachable, and needs [`Subject::with_outage`]. `with foreign` runs those about keys that hold
//! something other than bytes, and needs [`Subject::with_foreign_values`].
//!
//! If the client breaks the contract, a scenario panics and says what was expected.
//!
//! Not in here: what only some clients promise (invalidations, failover, encryption), and anything that a
//! test of one client can check better.

#![expect(
    clippy::missing_panics_doc,
    reason = "every function in here promises to panic where the client breaks the contract"
)]

mod expect;
mod runner;
mod scenario;
mod subject;

pub mod basics;
pub mod batches;
pub mod cancellation;
pub mod closing;
pub mod combined;
pub mod concurrency;
pub mod conditional;
pub mod counters;
pub mod each;
pub mod expiry;
pub mod foreign;
pub mod limits;
pub mod namespaces;
pub mod reachability;
pub mod ttl_bounds;

pub use runner::{Time, run};
pub use scenario::{Pace, SCENARIOS, Scenario};
pub use subject::{ForeignValues, Load, Outage, Subject};
