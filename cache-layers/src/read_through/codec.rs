//! Turns values into bytes and back.
//!
//! Not in here: what else is stored with them (`envelope.rs`).

use std::any::type_name;
use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use cache_core::CacheError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How values of type `T` are stored.
///
/// Instances of a service that run at the same time share their entries. An instance that cannot decode an entry of
/// another one loads the value and replaces the entry. So if a new version of the service stores another form, put a
/// version into the key.
pub trait Codec<T>: Debug + Send + Sync + 'static {
    /// Returns the bytes to store.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] if `value` cannot be encoded. The text must not show the value.
    fn encode(&self, value: &T) -> Result<Bytes, CacheError>;

    /// Returns the value that was stored. Runs on the caller's task.
    ///
    /// # Errors
    ///
    /// [`CacheError::Corrupt`] if `stored` is not a result of [`encode`](Self::encode). The text must not show the
    /// value.
    fn decode(&self, stored: &Bytes) -> Result<T, CacheError>;
}

/// JSON through serde.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn encode(&self, value: &T) -> Result<Bytes, CacheError> {
        let json = serde_json::to_vec(value).map_err(|_| CacheError::InvalidInput {
            argument: "value",
            reason: format!("a {} that has no JSON form", type_name::<T>()).into(),
        })?;
        Ok(json.into())
    }

    fn decode(&self, stored: &Bytes) -> Result<T, CacheError> {
        serde_json::from_slice(stored).map_err(|error| CacheError::Corrupt {
            // Not the error itself, because its text may show part of the value.
            detail: format!(
                "the value is not the JSON of a {} (line {}, column {})",
                type_name::<T>(),
                error.line(),
                error.column()
            )
            .into(),
            source: None,
        })
    }
}

/// What a read-through passes around in place of bytes, and how it is stored.
pub(super) trait Form<V>: Debug + Send + Sync {
    fn encode(&self, value: &V) -> Result<Bytes, CacheError>;
    fn decode(&self, stored: Bytes) -> Result<V, CacheError>;
}

/// Bytes as they are.
#[derive(Debug)]
pub(super) struct Plain;

impl Form<Bytes> for Plain {
    fn encode(&self, value: &Bytes) -> Result<Bytes, CacheError> {
        Ok(value.clone())
    }

    fn decode(&self, stored: Bytes) -> Result<Bytes, CacheError> {
        Ok(stored)
    }
}

/// Decoded once, and shared from then on.
#[derive(Debug)]
pub(super) struct Shared<C>(pub(super) C);

impl<T, C: Codec<T>> Form<Arc<T>> for Shared<C> {
    fn encode(&self, value: &Arc<T>) -> Result<Bytes, CacheError> {
        self.0.encode(value)
    }

    fn decode(&self, stored: Bytes) -> Result<Arc<T>, CacheError> {
        self.0.decode(&stored).map(Arc::new)
    }
}
