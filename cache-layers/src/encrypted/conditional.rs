//! Conditional writes over values whose stored bytes differ each time that they are sealed.
//!
//! A comparison is made here, with the value that was opened; the write is then conditional on the stored bytes that it
//! was opened from. No two sealings have the same bytes, so if the bytes are still there, so is the value: the comparison
//! holds at the moment of the write.

use bytes::Bytes;
use cache_core::{CacheError, Outcome, Ttl, Unavailability, integer};

use super::read::Opened;
use super::{Encrypted, Name, TRIES};

/// A value and the bytes that it was opened from.
struct Seen<'n> {
    stored: Bytes,
    opened: Opened,
    /// The other name that it was read from, if it is not encrypted.
    plain_key: Option<&'n str>,
}

impl Encrypted {
    /// The value of a key now, also if it is not encrypted.
    async fn see<'n>(&self, name: &'n Name<'_>) -> Result<Option<Seen<'n>>, CacheError> {
        match self.inner.get(&name.stored).await {
            Ok(stored) => {
                let opened = match self.open(name.key, &stored) {
                    Ok(opened) => Some(opened),
                    Err(trouble) => Box::pin(self.settle(name, &stored, trouble)).await,
                };
                Ok(opened.map(|opened| Seen {
                    stored,
                    opened,
                    plain_key: None,
                }))
            }
            Err(CacheError::Miss) => {
                let Some(plain_key) = self.plain_key(name) else {
                    return Ok(None);
                };
                match self.inner.get(plain_key).await {
                    Ok(stored) => Ok(Some(Seen {
                        opened: self.plaintext(stored.clone()),
                        stored,
                        plain_key: Some(plain_key),
                    })),
                    Err(CacheError::Miss) => Ok(None),
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn replace_if_equal(
        &self,
        name: &Name<'_>,
        expected: &[u8],
        value: &Bytes,
        ttl: Ttl,
    ) -> Result<bool, CacheError> {
        for _ in 0..TRIES {
            let Some(seen) = self.see(name).await? else {
                return Ok(false);
            };
            if seen.opened.value != expected {
                return Ok(false);
            }
            let is_counter = seen.opened.is_counter && integer::parse(value).is_some();
            let stored = if is_counter {
                // A counter stays one, so that it can be counted on in one step.
                value.clone()
            } else {
                self.seal(name.key, value)?
            };
            if let Some(plain_key) = seen.plain_key {
                // The call that removes the plain value has replaced it.
                if self.inner.compare_and_delete(plain_key, &seen.stored).await? {
                    self.inner.set_if_absent(&name.stored, stored, ttl).await?;
                    return Ok(true);
                }
            } else if self
                .inner
                .compare_and_set(&name.stored, &seen.stored, stored, ttl)
                .await?
            {
                return Ok(true);
            }
        }
        Err(too_many_changes())
    }

    pub(super) async fn delete_if_equal(&self, name: &Name<'_>, expected: &[u8]) -> Result<bool, CacheError> {
        for _ in 0..TRIES {
            let Some(seen) = self.see(name).await? else {
                return Ok(false);
            };
            if seen.opened.value != expected {
                return Ok(false);
            }
            if self.remove(name, &seen).await? {
                return Ok(true);
            }
        }
        Err(too_many_changes())
    }

    /// Deletes the value of a key and returns it. What cannot be opened is a miss, and stays for the instances that
    /// can open it.
    pub(super) async fn take(&self, name: &Name<'_>) -> Result<Bytes, CacheError> {
        for _ in 0..TRIES {
            let Some(seen) = self.see(name).await? else {
                return Err(CacheError::Miss);
            };
            if self.remove(name, &seen).await? {
                return Ok(seen.opened.value);
            }
        }
        Err(too_many_changes())
    }

    /// Deletes what was seen, if it is still stored; whether it was.
    async fn remove(&self, name: &Name<'_>, seen: &Seen<'_>) -> Result<bool, CacheError> {
        let from = if let Some(plain_key) = seen.plain_key {
            plain_key
        } else {
            // What is hidden by the sealed value must not show when that is gone.
            self.drop_plaintext(std::slice::from_ref(name)).await?;
            &*name.stored
        };
        self.inner.compare_and_delete(from, &seen.stored).await
    }

    pub(super) async fn store_if_absent(
        &self,
        name: &Name<'_>,
        value: &Bytes,
        ttl: Ttl,
    ) -> Result<bool, CacheError> {
        let sealed = self.seal(name.key, value)?;
        for _ in 0..TRIES {
            if let Some(plain_key) = self.plain_key(name)
                && self.inner.exists(&[plain_key]).await? > 0
            {
                return Ok(false);
            }
            if self
                .inner
                .set_if_absent(&name.stored, sealed.clone(), ttl)
                .await?
            {
                return Ok(true);
            }
            let stored = match self.inner.get(&name.stored).await {
                Ok(stored) => stored,
                // It was there a moment ago.
                Err(CacheError::Miss) => return Ok(false),
                Err(error) => return Err(error),
            };
            let trouble = match self.open(name.key, &stored) {
                Err(trouble) if trouble.is_replaceable() => trouble,
                _ => return Ok(false),
            };
            // To a reader this is a miss, so it is absent.
            self.count(trouble);
            let replaced = self
                .inner
                .compare_and_set(&name.stored, &stored, sealed.clone(), ttl);
            if replaced.await? {
                return Ok(true);
            }
        }
        Err(too_many_changes())
    }
}

/// Somebody writes the same value again and again, in new bytes each time.
pub(super) fn too_many_changes() -> CacheError {
    CacheError::Unavailable {
        reason: Unavailability::NotReady,
        detail: format!("the entry was written {TRIES} times while it was compared; try again").into(),
        outcome: Outcome::NotApplied,
        source: None,
    }
}
