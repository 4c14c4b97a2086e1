//! AWS integrations of the cache, each behind its own feature.
//!
//! The crate implements traits of `cache-core` only:
//! [`CredentialsSource`](cache_core::credentials::CredentialsSource),
//! [`KeysetStore`](cache_core::keyset::KeysetStore), [`KeyEncryption`](cache_core::keyset::KeyEncryption) and
//! [`CacheClient`](cache_core::CacheClient).
//!
//! Not in here: Valkey, encryption itself, reading `CACHE_*`.

#[cfg(feature = "sdk")]
mod account;
#[cfg(any(feature = "keyset", feature = "secret"))]
mod arn;
#[cfg(feature = "dynamodb")]
pub mod dynamodb;
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
#[cfg(any(feature = "iam", feature = "secret"))]
mod fetch;
#[cfg(feature = "iam")]
mod iam;
#[cfg(feature = "keyset")]
mod keyset;
#[cfg(any(
    feature = "dynamodb",
    feature = "elasticache",
    feature = "iam",
    feature = "keyset",
    feature = "secret"
))]
mod quiet;
#[cfg(feature = "secret")]
mod secret;
#[cfg(any(feature = "keyset", feature = "secret"))]
mod secrets_manager;

#[cfg(feature = "sdk")]
pub use account::{Aws, AwsBuilder, AwsService};
#[cfg(feature = "iam")]
pub use iam::{IamTokens, IamTokensBuilder};
#[cfg(feature = "keyset")]
pub use keyset::{KmsKeyEncryption, SecretsManagerKeysetStore};
#[cfg(feature = "secret")]
pub use secret::ServiceSecret;
