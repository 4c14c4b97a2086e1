//! What wraps a cache client, and what is built on one.
//!
//! Nothing in here names a vendor, and no layer names another one: they meet in
//! [`CacheClient`](cache_core::CacheClient) only.

pub mod read_through;

pub use read_through::{Loaded, ReadThrough, ReadThroughConfig};
