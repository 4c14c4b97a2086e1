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
#[cfg(any(feature = "keyset", feature = "secret"))]
mod arn;
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
pub use iam::{IamService, IamTokens, IamTokensBuilder};
#[cfg(feature = "keyset")]
pub use keyset::{KmsKeyEncryption, SecretsManagerKeysetStore};
#[cfg(feature = "secret")]
pub use secret::ServiceSecret;
