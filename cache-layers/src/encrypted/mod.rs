//! A client that encrypts values before they leave the process, with keys that rotate.
//!
//! In here: [`Encrypted`] and what it promises. Not in here: keysets ([`keyset`](crate::keyset)) and where they are
//! stored ([`cache_core::keyset`]).

mod client;
mod conditional;
mod config;
mod counters;
mod each;
mod form;
mod keyring;
mod read;
mod source;
mod stats;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use cache_core::{CacheClient, CacheError, MAX_KEY_LEN, Ttl, check_key};

pub use config::{EncryptedConfig, EncryptedConfigBuilder, Migration};
pub use form::StoredForm;
pub use keyring::{Keyring, KeyringConfig, KeyringConfigBuilder, KeyringStats, KeyringStatus};
pub use stats::{EncryptedStats, Unreadable};

use self::stats::{Count, Counts};
use crate::refuse::refuse;

/// How often a conditional write looks again if the entry changes between the look and the write.
const TRIES: usize = 8;

/// Seals values on the way to the client inside and opens them on the way back, with the keys of a [`Keyring`].
///
/// Values are sealed with AES-GCM in the form of Google Tink, with the key of the cache as associated data. So an
/// entry that is copied to another key does not open. How it is stored is a choice, see [`StoredForm`].
///
/// # What is protected
///
/// A reader of the remote cache sees no value. A writer to it cannot forge a value, change one, or move one to
/// another key.
///
/// - They can still see keys, sizes, TTLs, counters, and when entries are read and written.
/// - A writer can still delete entries, change their TTLs and counters, and put back an older value of the same key.
///
/// # What cannot be opened
///
/// A value that cannot be opened is a miss, never an error. It is counted by its reason ([`stats`](Self::stats)):
///
/// | reason | what it may be | a read removes it | `set_if_absent` and `incr` treat it as absent |
/// |---|---|---|---|
/// | [`UnknownKey`](Unreadable::UnknownKey) | an entry of a newer keyset | no | no |
/// | [`NotSealed`](Unreadable::NotSealed) | an entry of an instance that does not encrypt yet | no | yes |
/// | [`Malformed`](Unreadable::Malformed) | a broken entry | yes | yes |
/// | [`Refused`](Unreadable::Refused) | a changed or copied entry | yes | yes |
///
/// A read removes a value by `compare_and_delete` of the very bytes that it read. It never removes an entry that
/// another instance may be able to read. A ciphertext of a RAW key names no key. If it does not open, it counts as
/// one of an unknown key.
///
/// An unknown key starts a refresh of the keyset, and the read waits for it briefly; see [`Keyring`]. Until the
/// refresh brings the key, its entries are misses. `set` replaces them. `set_if_absent` does not, because one of them
/// may be the lock of an instance with a newer keyset. So `exists`, `ttl`, `expire` and `del` treat an unreadable
/// entry as present.
///
/// # Conditional writes
///
/// `compare_and_set` and `compare_and_delete` read the stored bytes, open them, compare, and then write only if the
/// same bytes are still stored. No two sealings have the same bytes, so the comparison holds at the moment of the
/// write: they are atomic as the contract says. They cost two calls of the client inside. If another writer stores an
/// equal value between the two, they look again, up to 8 times. After that the answer is [`CacheError::Unavailable`]
/// with [`NotApplied`](cache_core::Outcome::NotApplied). A `set_if_absent` that finds an entry reads it, to see
/// whether it can be opened. That costs two calls if nothing is stored.
///
/// `get_and_delete` works in the same way: it reads, opens, and deletes the very bytes that it has opened. So a value
/// that cannot be opened is a miss and is not deleted, unless no instance can open it (the table above).
/// `get_and_expire` is one call of the client inside. It sets the TTL of an entry even if it cannot open it, as
/// `expire` does, and is then a miss.
///
/// # Counters
///
/// A backend can only count what it can read. So counters are stored **in clear text, and nothing proves who wrote
/// them**.
///
/// - `incr` and `incr_by` store counters in clear text. An integer from `set` and the other writes is sealed like any
///   value.
/// - The first `incr` of a sealed integer turns it into a counter in clear text, with the same TTL. The TTL counts
///   again from that moment, so it may end later by a round trip.
/// - `compare_and_set` of a counter to another integer leaves it a counter.
/// - An integer in clear text is always read as it is, in every mode.
///
/// If a service needs no counters, [`without_counters`](EncryptedConfigBuilder::without_counters) closes this hole.
///
/// # Migration
///
/// [`Migration::Strict`] is for a cache that was encrypted from its first entry on. With [`Migration::ReadPlaintext`]
/// a value that is not encrypted is read and counted ([`EncryptedStats::plaintext`]), and all writes are encrypted.
/// When the count stays at zero, switch to `Strict`.
///
/// - In the form of Tink, plaintext and ciphertext have the same key. A plaintext of 33 bytes or more whose first
///   byte is `00` or `01` looks like a ciphertext of an unknown key, and is a miss. If the keyset has RAW keys, so is
///   every plaintext of 28 bytes or more.
/// - In the form of chinmina-bridge, plaintext is under the key without `enc:`. A read looks there if there is
///   nothing under `enc:`, and a copy of that in a near cache is then untracked. A write first removes the plaintext,
///   and then stores. So a read between the two may be a miss, and if the store fails the old value is gone. `del`,
///   `exists`, `expire` and `ttl` see both. With many keys, `del` and `exists` may count a key that has both twice.
///   Conditional writes also compare with the plaintext, and are atomic among instances that encrypt. If an instance
///   that does not encrypt yet writes the same key, that write is not seen once a sealed value is stored. Counters
///   under the plain name are not continued: counting starts at 0.
///
/// # Its place
///
/// `Prefixed > Observed("edge") > Tiered > Encrypted > Observed("far") > Guarded > client`. That is below the near
/// cache, whose hits then cost no decryption, and above everything that sees what leaves the process. Keys include
/// the prefix. The guard below counts its deadline for each call of the client inside, and a call here may make
/// several of them.
///
/// # Cost
///
/// Sealing takes one allocation (two in the form of chinmina-bridge) and about a microsecond for 1 KiB. Opening takes
/// the same. A value grows as [`StoredForm::sealed_len`] says.
///
/// # Panics
///
/// Calls must be made inside a tokio runtime whose timers are on.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use cache_core::{CacheClient, CacheError, MemoryCache, Ttl};
/// use cache_layers::{Encrypted, EncryptedConfig, Keyring};
///
/// # async fn example(keyring: Arc<Keyring>) -> Result<(), CacheError> {
/// let remote = Arc::new(MemoryCache::default());
/// let cache = Encrypted::new(remote.clone(), keyring, EncryptedConfig::default());
///
/// cache.set("token", "s3cr3t".into(), Ttl::secs(60)).await?;
/// assert_eq!(cache.get("token").await?, "s3cr3t");
/// assert_ne!(remote.get("token").await?, "s3cr3t");
/// # Ok(())
/// # }
/// ```
pub struct Encrypted {
    inner: Arc<dyn CacheClient>,
    keyring: Arc<Keyring>,
    config: EncryptedConfig,
    counts: Counts,
    closed: AtomicBool,
}

/// A key, and the name under which its sealed value is stored.
#[derive(Debug)]
struct Name<'k> {
    key: &'k str,
    stored: Cow<'k, str>,
}

impl Encrypted {
    /// Creates a layer that encrypts the values of `client` with the keys of `keyring`. Several layers may share a
    /// keyring. It is closed with the last of them that is closed.
    #[must_use]
    pub fn new(client: Arc<dyn CacheClient>, keyring: Arc<Keyring>, config: EncryptedConfig) -> Self {
        keyring.attach();
        Self {
            inner: client,
            keyring,
            config,
            counts: Counts::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Returns the client inside.
    #[must_use]
    pub fn inner(&self) -> &Arc<dyn CacheClient> {
        &self.inner
    }

    /// Returns the keyring that it encrypts with, which has a [`status`](Keyring::status).
    #[must_use]
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &EncryptedConfig {
        &self.config
    }

    /// Returns the counters of events.
    #[must_use]
    pub fn stats(&self) -> EncryptedStats {
        self.counts.stats()
    }

    /// Returns the length of the longest key that callers may use, in bytes.
    #[must_use]
    pub fn longest_key(&self) -> usize {
        self.config.form.longest_key()
    }

    fn name<'k>(&self, key: &'k str) -> Result<Name<'k>, CacheError> {
        check_key(key)?;
        let longest = self.longest_key();
        if key.len() > longest {
            let taken = MAX_KEY_LEN - longest;
            return refuse(
                "key",
                format!(
                    "{} bytes long; encryption puts {taken} bytes before it, so it has at most {longest}",
                    key.len()
                ),
            );
        }
        let stored = self.config.form.stored_key(key);
        Ok(Name { key, stored })
    }

    /// Refuses values and TTLs that must not be stored, before any I/O.
    fn check(&self, value: &Bytes, ttl: Ttl) -> Result<(), CacheError> {
        ttl.as_duration()?;
        let most = self.config.max_value();
        if value.len() > most {
            return refuse(
                "value",
                format!(
                    "{} bytes long; before it is encrypted a value has at most {most}",
                    value.len()
                ),
            );
        }
        Ok(())
    }

    #[inline]
    fn seal(&self, key: &str, value: &[u8]) -> Result<Bytes, CacheError> {
        let ciphertext = self.keyring.current().seal(value, key.as_bytes())?;
        self.counts.add(Count::Sealed);
        Ok(self.config.form.wrap(ciphertext))
    }

    fn reads_plaintext(&self) -> bool {
        self.config.migration == Migration::ReadPlaintext
    }

    /// Returns the other name under which an unencrypted value of this key may be stored.
    fn plain_key<'k>(&self, name: &Name<'k>) -> Option<&'k str> {
        if self.reads_plaintext() {
            self.config.form.plain_key(name.key)
        } else {
            None
        }
    }

    /// Removes values under the other names of these keys. Returns how many there were.
    async fn drop_plaintext(&self, names: &[Name<'_>]) -> Result<u64, CacheError> {
        if !self.reads_plaintext() {
            return Ok(0);
        }
        let plain_keys: Vec<&str> = names.iter().filter_map(|name| self.plain_key(name)).collect();
        if plain_keys.is_empty() {
            return Ok(0);
        }
        self.inner.del(&plain_keys).await
    }
}

impl Drop for Encrypted {
    fn drop(&mut self) {
        if !self.closed.load(Ordering::Acquire) {
            self.keyring.detach();
        }
    }
}

/// One short line that names the client inside. No key, no value and no key material.
impl fmt::Debug for Encrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encrypted({:?})", self.inner)
    }
}
