//! Conditional writes for values whose stored bytes differ each time that they are sealed.
//!
//! The comparison is made here, with the opened value. The write is then conditional on the stored bytes from which
//! the value was opened. No two sealings have the same bytes. So if the bytes are still stored, so is the value, and
//! the comparison holds at the moment of the write.

use bytes::Bytes;
use cache_core::{CacheError, Outcome, Ttl, Unavailability, integer};

use super::read::Opened;
use super::{Encrypted, Name, TRIES};

/// A value and the bytes that it was opened from.
struct Seen<'n> {
    stored: Bytes,
    opened: Opened,
    /// The other name from which it was read, if it is not encrypted.
    plain_key: Option<&'n str>,
}

impl Encrypted {
    /// Reads the current value of a key, also if it is not encrypted.
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
                // A counter stays a counter, so that counting takes one step.
                value.clone()
            } else {
                self.seal(name.key, value)?
            };
            if let Some(plain_key) = seen.plain_key {
                // The call that removes the plain value is the one that replaces it.
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

    /// Deletes the value of a key and returns it. A value that cannot be opened is a miss. It stays for the instances
    /// that can open it.
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

    /// Deletes the entry that was seen, if it is still stored. Returns whether it was.
    async fn remove(&self, name: &Name<'_>, seen: &Seen<'_>) -> Result<bool, CacheError> {
        let from = if let Some(plain_key) = seen.plain_key {
            plain_key
        } else {
            // A plain value hidden by the sealed one must not appear when that is gone.
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
                // It existed a moment ago.
                Err(CacheError::Miss) => return Ok(false),
                Err(error) => return Err(error),
            };
            let trouble = match self.open(name.key, &stored) {
                Err(trouble) if trouble.is_replaceable() => trouble,
                _ => return Ok(false),
            };
            // A reader gets a miss for it, so it counts as absent.
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

/// The error if the same value is written again and again, in new bytes each time.
pub(super) fn too_many_changes() -> CacheError {
    CacheError::Unavailable {
        reason: Unavailability::NotReady,
        detail: format!("the entry was written {TRIES} times while it was compared; try again").into(),
        outcome: Outcome::NotApplied,
        source: None,
    }
}
