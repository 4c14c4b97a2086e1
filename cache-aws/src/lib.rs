//! What a cache needs from AWS, each behind a feature of its own.
//!
//! The crate meets the rest of the project through the traits of `cache-core` only:
//! [`CredentialsSource`](cache_core::credentials::CredentialsSource),
//! [`KeysetStore`](cache_core::keyset::KeysetStore), [`KeyEncryption`](cache_core::keyset::KeyEncryption) and
//! [`CacheClient`](cache_core::CacheClient).
//!
//! Not in here: Valkey, encryption itself, reading `CACHE_*`.

#[cfg(feature = "sdk")]
mod account;
#[cfg(feature = "elasticache")]
pub mod elasticache;
#[cfg(any(
    feature = "dynamodb",
    feature = "elasticache",
    feature = "iam",
    feature = "keyset",
    feature = "secret"
))]
mod error;

#[cfg(feature = "sdk")]
pub use account::{Aws, AwsBuilder, AwsService};
