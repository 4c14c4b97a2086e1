//! Where an encryption keyset is stored, and what decrypts it: the interface between encryption, which uses
//! keysets, and the files, secret stores and key-management services that hold them.
//!
//! Not in here: the content of a keyset (`cache_layers::keyset`).

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{CacheError, Secret};

/// A keyset as it is stored: clear or encrypted, JSON or binary.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoredKeyset {
    /// The stored bytes.
    pub bytes: Secret<Vec<u8>>,
    /// This version of the stored keyset. A write that expects it fails if another writer was faster.
    pub version: String,
    /// Short notes stored with the keyset, such as when a key was added. No secrets.
    pub notes: BTreeMap<String, String>,
}

impl StoredKeyset {
    /// A keyset with its version and notes.
    #[must_use]
    pub fn new(bytes: Secret<Vec<u8>>, version: impl Into<String>, notes: BTreeMap<String, String>) -> Self {
        Self {
            bytes,
            version: version.into(),
            notes,
        }
    }
}

/// What a write expects to replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected<'a> {
    /// There is no keyset yet.
    Absent,
    /// This version, see [`StoredKeyset::version`].
    Version(&'a str),
}

/// A place that holds one keyset. A service only reads; `cachectl keyset` also writes.
#[async_trait]
pub trait KeysetStore: Debug + Send + Sync + 'static {
    /// Where the keyset is, for messages: a path or a URI, no secret.
    fn location(&self) -> String;

    /// Reads the keyset.
    ///
    /// # Errors
    ///
    /// [`CacheError::Unavailable`], [`CacheError::Timeout`] if the store does not answer,
    /// [`CacheError::Unauthorized`], [`CacheError::Denied`] if it refuses, [`CacheError::Miss`] if there is no keyset.
    async fn read(&self) -> Result<StoredKeyset, CacheError>;

    /// Replaces keyset and notes, but only if the stored keyset is still the `expected` one.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and [`CacheError::Rejected`] with the code `CONFLICT` if another writer was
    /// faster.
    async fn write(
        &self,
        keyset: &Secret<Vec<u8>>,
        notes: &BTreeMap<String, String>,
        expected: Expected<'_>,
    ) -> Result<(), CacheError>;
}

/// A key that encrypts keysets and never leaves its service, such as a KMS key.
#[async_trait]
pub trait KeyEncryption: Debug + Send + Sync + 'static {
    /// Names the key, for messages: a URI, no secret.
    fn name(&self) -> String;

    /// Encrypts a serialized keyset.
    ///
    /// # Errors
    ///
    /// As [`KeysetStore::read`].
    async fn encrypt(
        &self,
        plaintext: &Secret<Vec<u8>>,
        associated_data: &[u8],
    ) -> Result<Vec<u8>, CacheError>;

    /// Decrypts the result of [`encrypt`](Self::encrypt) with the same associated data.
    ///
    /// # Errors
    ///
    /// As [`KeysetStore::read`], and [`CacheError::Corrupt`] if this key did not encrypt it.
    async fn decrypt(&self, ciphertext: &[u8], associated_data: &[u8])
    -> Result<Secret<Vec<u8>>, CacheError>;
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: KeysetStore + ?Sized> KeysetStore for Arc<S> {
    fn location(&self) -> String {
        (**self).location()
    }

    async fn read(&self) -> Result<StoredKeyset, CacheError> {
        (**self).read().await
    }

    async fn write(
        &self,
        keyset: &Secret<Vec<u8>>,
        notes: &BTreeMap<String, String>,
        expected: Expected<'_>,
    ) -> Result<(), CacheError> {
        (**self).write(keyset, notes, expected).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<K: KeyEncryption + ?Sized> KeyEncryption for Arc<K> {
    fn name(&self) -> String {
        (**self).name()
    }

    async fn encrypt(
        &self,
        plaintext: &Secret<Vec<u8>>,
        associated_data: &[u8],
    ) -> Result<Vec<u8>, CacheError> {
        (**self).encrypt(plaintext, associated_data).await
    }

    async fn decrypt(
        &self,
        ciphertext: &[u8],
        associated_data: &[u8],
    ) -> Result<Secret<Vec<u8>>, CacheError> {
        (**self).decrypt(ciphertext, associated_data).await
    }
}
