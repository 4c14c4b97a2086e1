//! Keysets in Secrets Manager, encrypted under a KMS key.
//!
//! Not in here: the content of a keyset, and keyset files for development, see `cache_layers::keyset`.

mod kms;
mod notes;
mod store;
mod uri;

pub use kms::KmsKeyEncryption;
pub use store::SecretsManagerKeysetStore;
