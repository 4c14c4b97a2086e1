//! The composition root: from a configuration to a ready cache client in one call.
//!
//! [`from_env`] is the usual way in; [`connect`] takes a configuration that is at hand already, and
//! [`connect_with`] a source of credentials, too. What comes out is an
//! [`Arc<dyn CacheClient>`](cache_core::CacheClient): the caller depends on the contract and not on what is
//! behind it. [`wrap`] puts the layers around a client that the caller made. [`assemble`] hands out the backend besides, for administration. [`check`] says no to what is
//! configured and cannot be done; nothing is left out silently.
//!
//! Not in here: backends, layers, and what a configuration means.
//!
//! ```
//! use cache_core::{CacheClientExt, CacheConfig};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let cache = cache_stack::connect(&CacheConfig::default()).await?;
//! assert_eq!(cache.find("greeting").await?, None);
//! # Ok::<(), cache_core::CacheError>(())
//! # }).unwrap();
//! ```

mod aws;
mod connect;
mod connections;
mod encryption;
mod layers;
mod refusal;
mod stack;
#[cfg(any(feature = "otlp", feature = "prometheus"))]
pub mod telemetry;

pub use connect::{assemble, connect, connect_with, describe, from_env, wrap};
pub use refusal::check;
pub use stack::{Foundation, Stack};

/// The code in the pages at the root is compiled and run with the documentation of this crate, which sees
/// all that a service sees.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../README.md")]
    struct Readme;

    #[doc = include_str!("../../MIGRATION.md")]
    struct Migration;

    #[doc = include_str!("../../docs/encryption.md")]
    struct Encryption;

    #[cfg(feature = "prometheus")]
    #[doc = include_str!("../../docs/metrics.md")]
    struct Metrics;
}
