//! The read-through, scenario by scenario, in virtual time.
//!
//! Several `ReadThrough`s over one `MemoryCache` stand for several processes on one server.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where its preparations fail"
)]

mod batch;
mod cache_trouble;
mod concerns;
mod exhaustive;
mod fleet;
mod interleavings;
mod lives;
mod mock;
mod near_below;
mod refresh;
mod rig;
mod shards;
mod single_flight;
mod stored;
mod typed;
mod wire;
