//! Test doubles for the cache contract.
//!
//! [`MockCacheClient`] checks which calls it gets, for tests of *how* a caller uses its cache.
//! [`FaultyCache`] makes any client fail on demand, by a script or at random, for tests of what a caller does
//! when its cache is slow, wrong or down. If a test only needs a working cache, use the embedded
//! [`MemoryCache`](cache_core::MemoryCache), which is a real implementation. Use it for all layers too
//! (read-through, lock, limiter), because they make several calls for one of yours.
//!
//! Not in here: servers, and anything that production code links.

mod expectations;
mod faulty;
mod loads;
mod mock;
mod unexpected;

pub use faulty::{Fault, Faults, FaultyCache, Operation, RandomFaults};
pub use mock::MockCacheClient;
