//! A client whose keys all start with a prefix, for several services, or several uses, on one backend.
//!
//! Not in here: how keys are built from parts. [`Keyspace`](cache_core::Keyspace) does that, and its keys are keys
//! like any other.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::beside::{push_under, without};
use crate::each;
use crate::refuse::refuse;
use cache_core::{
    CacheClient, CacheError, Entry, Invalidation, InvalidationListener, InvalidationSource, Lookup,
    MAX_KEY_LEN, Subscription, TrackingStatus, Ttl, check_key,
};

/// The longest prefix, in bytes of UTF-8. The same limit as for `CACHE_KEY_PREFIX`.
const MAX_PREFIX_LEN: usize = 1024;

/// Puts a prefix before every key, and removes it from the keys of invalidations.
///
/// # Behaviour
///
/// Everything else passes unchanged. The prefix is part of the key: with a prefix of 8 bytes a caller's key has at
/// most [`MAX_KEY_LEN`] - 8 bytes. A longer one is [`CacheError::InvalidInput`], with a message that says so. A hash
/// tag in a key works as before, because a prefix holds no braces. If a recipe stores something next to a key without
/// a hash tag, it stays in that key's slot: its name ends in letters that are chosen for the prefix. From a list of
/// changed keys the caller gets those under the prefix. If there are none, it gets no event.
///
/// A prefix separates callers that keep to it. It is not a permission. For that, give each caller its own user, whose
/// access list names the prefix.
///
/// # Its place
///
/// On top of all layers: `Prefixed > Observed("edge") > Tiered > Encrypted > Observed("far") > Guarded > client`. So
/// the layers below know each entry by the one key under which the backend has it.
///
/// Wrong orders:
///
/// - Below an encryption that binds each value to its key, values would be bound to the key without the prefix. They
///   would still open if moved to another prefix, and a tool that knows the backend's keys could not open them.
/// - Below a near cache, every report of a change would have to be translated. On top, that happens only if a caller
///   listens.
///
/// # Cost
///
/// One allocation per call for the joined key. Two per call with many keys, however many.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use cache_core::{CacheClient, CacheError, MemoryCache, Ttl};
/// use cache_layers::Prefixed;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let shared = Arc::new(MemoryCache::default());
/// let billing = Prefixed::new(shared.clone(), "billing:")?;
///
/// billing.set("rates", "1.08".into(), Ttl::secs(60)).await?;
/// assert_eq!(shared.get("billing:rates").await?, "1.08");
/// assert!(shared.get("rates").await.unwrap_err().is_miss());
/// # Ok::<(), CacheError>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Prefixed {
    client: Arc<dyn CacheClient>,
    prefix: Arc<str>,
}

/// One short line that names the client inside, but not the prefix. A prefix may be a tenant's name, and long.
impl fmt::Debug for Prefixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefixed({:?})", self.client)
    }
}

impl Prefixed {
    /// Creates a client whose keys get `prefix` in `client`.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for a prefix that is empty, longer than 1,024 bytes, or holds braces or control
    /// characters.
    pub fn new(client: Arc<dyn CacheClient>, prefix: impl Into<Arc<str>>) -> Result<Self, CacheError> {
        let prefix = prefix.into();
        let clean = !prefix.chars().any(|c| c.is_control() || matches!(c, '{' | '}'));
        if prefix.is_empty() || prefix.len() > MAX_PREFIX_LEN || !clean {
            return refuse(
                "prefix",
                format!("takes 1 to {MAX_PREFIX_LEN} bytes of text without braces and control characters"),
            );
        }
        Ok(Self { client, prefix })
    }

    /// Returns the client inside.
    #[must_use]
    pub fn inner(&self) -> &Arc<dyn CacheClient> {
        &self.client
    }

    /// Returns the prefix.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the length of the longest key that callers may use, in bytes.
    #[must_use]
    pub fn longest_key(&self) -> usize {
        MAX_KEY_LEN - self.prefix.len()
    }

    fn check(&self, key: &str) -> Result<(), CacheError> {
        check_key(key)?;
        if key.len() > self.longest_key() {
            return refuse(
                "key",
                format!(
                    "{} bytes long; under this prefix of {} bytes a key has at most {}",
                    key.len(),
                    self.prefix.len(),
                    self.longest_key()
                ),
            );
        }
        Ok(())
    }

    /// Returns the key as the client inside knows it.
    fn join(&self, key: &str) -> Result<String, CacheError> {
        self.check(key)?;
        let mut joined = String::with_capacity(self.prefix.len() + key.len());
        push_under(&mut joined, &self.prefix, key);
        Ok(joined)
    }

    /// Joins the keys as the client inside knows them, one after the other; see [`parts`](Self::parts).
    fn join_all<'k>(&self, keys: impl Iterator<Item = &'k str> + Clone) -> Result<String, CacheError> {
        keys.clone().try_for_each(|key| self.check(key))?;
        Ok(self.join_checked(keys))
    }

    /// As [`join_all`](Self::join_all), for keys that have been checked.
    fn join_checked<'k>(&self, keys: impl Iterator<Item = &'k str> + Clone) -> String {
        let length = keys.clone().map(|key| self.prefix.len() + key.len()).sum();
        let mut joined = String::with_capacity(length);
        for key in keys {
            push_under(&mut joined, &self.prefix, key);
        }
        joined
    }

    /// Splits the result of [`join_all`](Self::join_all) into its keys.
    fn parts<'j>(
        &self,
        mut joined: &'j str,
        keys: impl Iterator<Item = &'j str>,
    ) -> impl Iterator<Item = &'j str> {
        keys.map(move |key| {
            let (part, rest) = joined.split_at(self.prefix.len() + key.len());
            joined = rest;
            part
        })
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheClient for Prefixed {
    async fn get(&self, key: &str) -> Result<Bytes, CacheError> {
        self.client.get(&self.join(key)?).await
    }

    async fn get_entry(&self, key: &str) -> Result<Entry, CacheError> {
        self.client.get_entry(&self.join(key)?).await
    }

    async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        let joined = self.join_all(keys.iter().copied())?;
        let keys: Vec<&str> = self.parts(&joined, keys.iter().copied()).collect();
        self.client.get_many(&keys).await
    }

    async fn get_each<'a>(&self, keys: &[&'a str]) -> Vec<Result<Bytes, CacheError>> {
        let (keys, known) = each::prepare(keys.iter(), |key| self.check(key).map(|()| *key));
        let joined = self.join_checked(keys.iter().copied());
        let keys: Vec<&str> = self.parts(&joined, keys.iter().copied()).collect();
        each::fill(known, self.client.get_each(&keys).await)
    }

    async fn get_entries<'a>(&self, keys: &[&'a str]) -> Vec<Result<Lookup, CacheError>> {
        let (keys, known) = each::prepare(keys.iter(), |key| self.check(key).map(|()| *key));
        let joined = self.join_checked(keys.iter().copied());
        let keys: Vec<&str> = self.parts(&joined, keys.iter().copied()).collect();
        each::fill(known, self.client.get_entries(&keys).await)
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<(), CacheError> {
        self.client.set(&self.join(key)?, value, ttl).await
    }

    async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError> {
        let keys = entries.iter().map(|(key, _)| *key);
        let joined = self.join_all(keys.clone())?;
        let values = entries.iter().map(|(_, value)| value.clone());
        let entries: Vec<(&str, Bytes)> = self.parts(&joined, keys).zip(values).collect();
        self.client.set_many(&entries, ttl).await
    }

    async fn set_each<'a>(&self, entries: &[(&'a str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>> {
        let (entries, known) = each::prepare(entries.iter(), |entry| self.check(entry.0).map(|()| entry));
        let joined = self.join_checked(entries.iter().map(|(key, ..)| *key));
        let parts = self.parts(&joined, entries.iter().map(|(key, ..)| *key));
        let entries: Vec<(&str, Bytes, Ttl)> = parts
            .zip(&entries)
            .map(|(key, (_, value, ttl))| (key, value.clone(), *ttl))
            .collect();
        each::fill(known, self.client.set_each(&entries).await)
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<bool, CacheError> {
        self.client.set_if_absent(&self.join(key)?, value, ttl).await
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: &[u8],
        value: Bytes,
        ttl: Ttl,
    ) -> Result<bool, CacheError> {
        let key = self.join(key)?;
        self.client.compare_and_set(&key, expected, value, ttl).await
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError> {
        self.client.compare_and_delete(&self.join(key)?, expected).await
    }

    async fn get_and_delete(&self, key: &str) -> Result<Bytes, CacheError> {
        self.client.get_and_delete(&self.join(key)?).await
    }

    async fn get_and_expire(&self, key: &str, ttl: Ttl) -> Result<Bytes, CacheError> {
        self.client.get_and_expire(&self.join(key)?, ttl).await
    }

    async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        let joined = self.join_all(keys.iter().copied())?;
        let keys: Vec<&str> = self.parts(&joined, keys.iter().copied()).collect();
        self.client.del(&keys).await
    }

    async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        let joined = self.join_all(keys.iter().copied())?;
        let keys: Vec<&str> = self.parts(&joined, keys.iter().copied()).collect();
        self.client.exists(&keys).await
    }

    async fn incr(&self, key: &str) -> Result<i64, CacheError> {
        self.client.incr(&self.join(key)?).await
    }

    async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError> {
        self.client.incr_by(&self.join(key)?, delta, ttl).await
    }

    async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError> {
        self.client.expire(&self.join(key)?, ttl).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl, CacheError> {
        self.client.ttl(&self.join(key)?).await
    }

    fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>> {
        let source = self.client.invalidations()?;
        Some(Arc::new(Stripped {
            source,
            prefix: Arc::clone(&self.prefix),
        }))
    }

    async fn ping(&self) -> Result<(), CacheError> {
        self.client.ping().await
    }

    async fn close(&self) -> Result<(), CacheError> {
        self.client.close().await
    }
}

/// Passes on the events of the client inside, with the keys that callers know.
#[derive(Debug)]
struct Stripped {
    source: Arc<dyn InvalidationSource>,
    prefix: Arc<str>,
}

impl InvalidationSource for Stripped {
    fn subscribe(&self, listener: Arc<dyn InvalidationListener>) -> Subscription {
        self.source.subscribe(Arc::new(Strip {
            listener,
            prefix: Arc::clone(&self.prefix),
        }))
    }

    fn status(&self) -> TrackingStatus {
        self.source.status()
    }
}

struct Strip {
    listener: Arc<dyn InvalidationListener>,
    prefix: Arc<str>,
}

impl InvalidationListener for Strip {
    fn on_invalidation(&self, event: &Invalidation) {
        let Invalidation::Keys(keys) = event else {
            return self.listener.on_invalidation(event);
        };
        // A key of which nothing is left is not a caller's key, so it cannot have been read through here.
        let own = keys.iter().filter_map(|key| without(&self.prefix, key));
        let own: Vec<String> = own.filter(|key| !key.is_empty()).collect();
        if !own.is_empty() {
            self.listener.on_invalidation(&Invalidation::Keys(own));
        }
    }
}

impl fmt::Debug for Strip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strip").finish_non_exhaustive()
    }
}
