//! The cache contract: one trait that every service depends on, and what goes with it.
//!
//! [`CacheClient`] is the contract, [`CacheClientExt`] the sugar over it, [`CacheError`] what can go
//! wrong (a miss is one of its kinds). [`MemoryCache`] is the embedded client: the default where no
//! server is configured, and a true fake in tests. [`CacheConfig`] reads the environment.
//!
//! What is not in here: sockets, vendors, HTTP. Nothing in this crate does I/O on a network.

mod client;
pub mod clock;
pub mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
mod entry;
mod error;
mod ext;
mod invalidation;
mod key;
mod keyspace;
mod memory;
mod pattern;
mod secret;
mod ttl;

pub mod credentials;
pub mod deadline;
pub mod integer;
pub mod keyset;
pub mod slot;

pub use client::CacheClient;
pub use config::{CacheConfig, ConfigError};
pub use entry::Entry;
pub use error::{CacheError, Outcome, Source as ErrorSource, Stage, Unavailability};
pub use ext::CacheClientExt;
pub use invalidation::{
    Invalidation, InvalidationListener, InvalidationSource, Subscription, TrackingStatus,
};
pub use key::{MAX_KEY_LEN, check_key};
pub use keyspace::{ConfigDigest, Keyspace, KeyspaceBuilder};
pub use memory::{MemoryCache, ScanPage};
pub use pattern::{Pattern, PatternBuilder};
pub use secret::Secret;
pub use ttl::Ttl;

pub use bytes::Bytes;
