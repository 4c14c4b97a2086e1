//! The conformance suite: what the contract promises, as one async function per promise, to be run
//! against every client, bare and layered.
//!
//! A crate that has a client turns the feature `conformance` on for its tests and asks for a named test
//! of each scenario:
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
//! `in virtual time` is for clients inside this process that ask [`clock`](crate::clock) for the time:
//! scenarios about lives take no time at all. `in real time` is for clients of a server. The future makes
//! the [`Subject`], anew for each scenario. What not every backend lets a test do is asked for by name,
//! so that what is not tested is seen where the tests are listed: `mod cluster in real time with outage`
//! also runs the scenarios that take a primary away, and needs [`Subject::with_outage`].
//!
//! A scenario panics, with what was expected, where the client breaks the contract.
//!
//! What is not in here: what only some clients promise (invalidations, failover, encryption), and
//! anything that a test of one client can say better.

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
pub mod life_bounds;
pub mod limits;
pub mod namespaces;
pub mod reachability;

pub use runner::{Time, run};
pub use scenario::{Pace, SCENARIOS, Scenario};
pub use subject::{Load, Outage, Subject};
