//! Keysets in Secrets Manager, encrypted under a KMS key.
//!
//! Not in here: what a keyset looks like inside, and the files of development. Those are `cache_layers::keyset`.

mod kms;
mod notes;
mod store;
mod uri;

pub use kms::KmsKeyEncryption;
pub use store::SecretsManagerKeysetStore;
