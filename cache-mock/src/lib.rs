//! Test doubles for the cache contract.
//!
//! [`MockCacheClient`] says what it was expected to be asked: for tests of *how* a caller uses its cache.
//! [`FaultyCache`] breaks any client on demand, by a script or at random: for tests of what a caller does
//! when its cache is slow, wrong or gone. Where a test only needs a cache that works, the embedded
//! [`MemoryCache`](cache_core::MemoryCache) is the better double: it is no mock but the real thing. That is so for
//! all layers (read-through, lock, limiter): they make several calls for one of yours.
//!
//! What is not in here: servers, and anything that production code would link.

mod expectations;
mod faulty;
mod loads;
mod mock;
mod unexpected;

pub use faulty::{Fault, Faults, FaultyCache, Operation, RandomFaults};
pub use mock::MockCacheClient;
