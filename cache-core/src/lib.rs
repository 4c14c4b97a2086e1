//! The cache contract: one trait that every service depends on, and its types.
//!
//! [`CacheClient`] is the contract, [`CacheClientExt`] adds convenience methods, and [`CacheError`] says what
//! can go wrong (a miss is one of its kinds). [`MemoryCache`] is the embedded client: the default if no
//! server is configured, and a faithful fake in tests. [`CacheConfig`] reads the environment.
//!
//! Not in here: sockets, vendors, HTTP. Nothing in this crate does network I/O.

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
mod vouch;

pub mod credentials;
pub mod deadline;
pub mod integer;
pub mod keyset;
pub mod slot;

pub use client::CacheClient;
pub use config::{CacheConfig, ConfigError};
pub use entry::{Absence, Entry, Lookup};
pub use error::{CacheError, Outcome, Source as ErrorSource, Stage, Unavailability};
pub use ext::CacheClientExt;
pub use invalidation::{
    Invalidation, InvalidationListener, InvalidationSource, Subscription, TrackingStatus,
};
pub use key::{MAX_KEY_LEN, check_key};
pub use keyspace::{ConfigDigest, Keyspace, KeyspaceBuilder};
pub use memory::{MemoryCache, ScanPage};
pub use pattern::{Asked, Pattern, PatternBuilder};
pub use secret::Secret;
pub use ttl::Ttl;
pub use vouch::{Lease, Place, Vouch};

pub use bytes::Bytes;
