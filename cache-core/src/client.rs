//! The contract: what every cache client does.
//!
//! All methods are required, so a wrapper cannot bypass its inner client by forgetting one. Convenience
//! methods are in [`CacheClientExt`](crate::CacheClientExt).

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{CacheError, Entry, InvalidationSource, Lookup, Ttl};

/// A cache, used as `Arc<dyn CacheClient>`.
///
/// # Keys and values
///
/// A key has 1 to [`MAX_KEY_LEN`](crate::MAX_KEY_LEN) bytes. Any other key is [`CacheError::InvalidInput`]
/// without I/O. A value is any bytes, possibly none. The backend sets the largest size; a larger value is
/// [`CacheError::InvalidInput`] and nothing is stored.
///
/// # Errors
///
/// Each method names its own errors. In addition, every method that does I/O may return
/// [`CacheError::Timeout`], [`CacheError::Unavailable`], [`CacheError::Unauthorized`], [`CacheError::Denied`]
/// and, after [`close`](CacheClient::close), [`CacheError::Closed`].
///
/// # Cancel safety
///
/// Every method is cancel safe: if its future is dropped, the client stays usable and no other call sees the
/// reply. A write whose future is dropped may or may not have been applied.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use cache_core::{CacheClient, CacheError, MemoryCache, Ttl};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let cache: Arc<dyn CacheClient> = Arc::new(MemoryCache::default());
///
/// assert!(matches!(cache.get("greeting").await, Err(CacheError::Miss)));
/// cache.set("greeting", "hello".into(), Ttl::secs(60)).await?;
/// assert_eq!(cache.get("greeting").await?, "hello");
/// # Ok::<(), CacheError>(())
/// # }).unwrap();
/// ```
#[async_trait]
pub trait CacheClient: Debug + Send + Sync + 'static {
    /// Reads the value of `key`.
    ///
    /// # Errors
    ///
    /// [`CacheError::Miss`] if the key does not exist or has expired; [`CacheError::Rejected`] if it holds
    /// something other than bytes.
    async fn get(&self, key: &str) -> Result<Bytes, CacheError>;

    /// Reads the value of `key` and its remaining TTL in one round trip.
    ///
    /// # Behaviour
    ///
    /// If the backend tracks reads ([`invalidations`](CacheClient::invalidations)), this read is tracked and
    /// [`Entry::tracked`] says so.
    ///
    /// # Errors
    ///
    /// As [`get`](CacheClient::get).
    async fn get_entry(&self, key: &str) -> Result<Entry, CacheError>;

    /// Reads many keys, in any slots: one round trip per node, all nodes in parallel.
    ///
    /// # Behaviour
    ///
    /// Returns one item per key, in the order of `keys`. A miss is `None`. A key given twice is answered
    /// twice. An empty list does no I/O.
    ///
    /// # Errors
    ///
    /// One failing key fails the call. An invalid key fails it before anything is sent. A key that holds
    /// something other than bytes fails as in [`get`](CacheClient::get); it is not a miss.
    async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError>;

    /// Reads many keys, in any slots, with one result per key: one round trip per node, all nodes in
    /// parallel.
    ///
    /// # Behaviour
    ///
    /// Returns one result per key, in the order of `keys`. A key given twice is answered twice. A failure
    /// affects as few keys as possible: a node that is down fails its own keys, a migrating slot delays its
    /// own keys, and an invalid key or a value of another type fails only that key. An empty list does no
    /// I/O.
    ///
    /// Every result is ready by the deadline of a single call. At the deadline, keys that the backend has
    /// answered keep their answers; only the others fail.
    ///
    /// Use [`get_many`](CacheClient::get_many) if the values are useful only together.
    ///
    /// # Errors
    ///
    /// The call itself cannot fail. Each result is like that of [`get`](CacheClient::get): a miss is
    /// [`CacheError::Miss`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. A dropped call loses the answers that have already arrived.
    ///
    /// # Examples
    ///
    /// ```
    /// use cache_core::{CacheClient, CacheError, MemoryCache, Ttl};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let cache = MemoryCache::default();
    /// cache.set("a", "1".into(), Ttl::secs(60)).await?;
    ///
    /// let results = cache.get_each(&["a", "b", ""]).await;
    /// assert_eq!(results[0].as_ref().unwrap(), "1");
    /// assert!(matches!(results[1], Err(CacheError::Miss)));
    /// assert!(matches!(results[2], Err(CacheError::InvalidInput { .. })));
    /// # Ok::<(), CacheError>(())
    /// # }).unwrap();
    /// ```
    async fn get_each<'a>(&self, keys: &[&'a str]) -> Vec<Result<Bytes, CacheError>>;

    /// Reads many keys and their remaining TTLs, in any slots, with one result per key: one round trip per
    /// node, all nodes in parallel. It is for near caches (L1), and for whoever needs the TTLs of many keys.
    ///
    /// # Behaviour
    ///
    /// As [`get_each`](CacheClient::get_each), but a missing key is [`Lookup::Absent`] and not an error. As
    /// with [`get_entry`](CacheClient::get_entry), the reads are tracked if the backend tracks reads, those
    /// of missing keys too: [`Entry::tracked`] and [`Absence::tracked`](crate::Absence::tracked) say so for
    /// each key.
    ///
    /// # Errors
    ///
    /// The call itself cannot fail. Each result is like that of [`get_entry`](CacheClient::get_entry), and
    /// never [`CacheError::Miss`].
    ///
    /// # Examples
    ///
    /// ```
    /// use cache_core::{CacheClient, CacheError, Lookup, MemoryCache, Ttl};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let cache = MemoryCache::default();
    /// cache.set("a", "1".into(), Ttl::Forever).await?;
    ///
    /// let results = cache.get_entries(&["a", "b"]).await;
    /// assert!(matches!(&results[0], Ok(Lookup::Found(entry)) if entry.remaining == Ttl::Forever));
    /// assert!(matches!(&results[1], Ok(Lookup::Absent(_))));
    /// # Ok::<(), CacheError>(())
    /// # }).unwrap();
    /// ```
    async fn get_entries<'a>(&self, keys: &[&'a str]) -> Vec<Result<Lookup, CacheError>>;

    /// Stores `value` under `key` and replaces an older value and its TTL.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for a `ttl` beyond [`Ttl::MAX`].
    async fn set(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<(), CacheError>;

    /// Stores many values, in any slots: one round trip per node, all nodes in parallel.
    ///
    /// # Behaviour
    ///
    /// Each entry is stored atomically, the list is not: after an error some entries may have been stored. If
    /// a key is given twice, its last value is kept. An empty list does no I/O.
    ///
    /// # Errors
    ///
    /// As [`set`](CacheClient::set); an invalid entry fails the call before anything is sent.
    async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError>;

    /// Stores many values, in any slots, with one TTL and one result per entry: one round trip per node, all
    /// nodes in parallel.
    ///
    /// # Behaviour
    ///
    /// As [`get_each`](CacheClient::get_each), with one result per entry. Each entry is stored atomically,
    /// the list is not. If a key is given twice, its last valid entry is stored, and all valid entries of the
    /// key share its result. An empty list does no I/O.
    ///
    /// # Errors
    ///
    /// The call itself cannot fail. Each result is like that of [`set`](CacheClient::set). After an error
    /// whose [`outcome`](CacheError::outcome) is unknown, that entry may have been stored.
    ///
    /// # Examples
    ///
    /// ```
    /// use cache_core::{CacheClient, MemoryCache, Ttl};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let cache = MemoryCache::default();
    /// let entries = [("a", "1".into(), Ttl::secs(60)), ("", "2".into(), Ttl::secs(60)), ("c", "3".into(), Ttl::Forever)];
    ///
    /// let results = cache.set_each(&entries).await;
    /// assert!(results[0].is_ok() && results[1].is_err() && results[2].is_ok());
    /// # });
    /// ```
    async fn set_each<'a>(&self, entries: &[(&'a str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>>;

    /// Stores `value` only if `key` does not exist, and returns whether it did. Atomic.
    ///
    /// # Errors
    ///
    /// As [`set`](CacheClient::set). After an error whose [`outcome`](CacheError::outcome) is unknown, the
    /// value may have been stored. The client never retries the call in that case.
    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<bool, CacheError>;

    /// Replaces the value of `key` only if it equals `expected` byte by byte, and returns whether it did.
    /// Atomic. A missing key never matches. The new TTL is `ttl`.
    ///
    /// # Errors
    ///
    /// As [`set_if_absent`](CacheClient::set_if_absent).
    async fn compare_and_set(
        &self,
        key: &str,
        expected: &[u8],
        value: Bytes,
        ttl: Ttl,
    ) -> Result<bool, CacheError>;

    /// Deletes `key` only if its value equals `expected` byte by byte, and returns whether it did. Atomic.
    ///
    /// # Errors
    ///
    /// As [`set_if_absent`](CacheClient::set_if_absent).
    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError>;

    /// Deletes `key` and returns its value. Atomic: exactly one of many concurrent callers gets the value.
    ///
    /// # Behaviour
    ///
    /// The client never retries this call while the outcome of an attempt is unknown. After such an error
    /// ([`outcome`](CacheError::outcome)) the value may be gone, and a second call cannot bring it back: a
    /// lost reply loses the value. If the value must not be lost, use [`get`](CacheClient::get) and
    /// [`compare_and_delete`](CacheClient::compare_and_delete).
    ///
    /// # Errors
    ///
    /// As [`get`](CacheClient::get). A key that holds something other than bytes is left unchanged.
    ///
    /// # Cancel safety
    ///
    /// As for every write: after the call is dropped, the value may be gone.
    async fn get_and_delete(&self, key: &str) -> Result<Bytes, CacheError>;

    /// Reads the value of `key` and sets its TTL, counted from now. [`Ttl::Forever`] removes the expiry.
    /// Atomic. This makes a sliding TTL: each read extends it.
    ///
    /// # Behaviour
    ///
    /// The value and the TTL belong to the same entry. The client may retry this call after a lost reply,
    /// because a second attempt only sets the same TTL again. It is a write, so it goes to the primary. The
    /// read is not [tracked](CacheClient::invalidations).
    ///
    /// # Errors
    ///
    /// As [`get`](CacheClient::get), and [`CacheError::InvalidInput`] for a `ttl` beyond [`Ttl::MAX`].
    async fn get_and_expire(&self, key: &str, ttl: Ttl) -> Result<Bytes, CacheError>;

    /// Deletes keys, in any slots, and returns how many existed.
    ///
    /// # Behaviour
    ///
    /// It is not an error if none of them exists. A key given twice counts once. An empty list does no I/O.
    /// If the client had to retry after a lost reply, keys that the first attempt deleted are not counted.
    ///
    /// # Errors
    ///
    /// The common errors of the trait. After an error some of the keys may be gone.
    async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError>;

    /// Returns how many of `keys`, in any slots, exist. A key given twice counts twice, as on the server. An
    /// empty list does no I/O.
    ///
    /// # Errors
    ///
    /// The common errors of the trait.
    async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError>;

    /// Adds one to the integer at `key` and returns the new value. Atomic.
    ///
    /// # Behaviour
    ///
    /// A missing key counts as 0, and a key that this call creates never expires. The TTL of an existing key
    /// does not change. The server's rules define an integer: decimal, no leading zeros, no spaces, within
    /// `i64`.
    ///
    /// # Errors
    ///
    /// [`CacheError::Rejected`] if the value is not an integer or would overflow; the value does not change.
    /// The client never retries the call while the outcome of an attempt is unknown.
    async fn incr(&self, key: &str) -> Result<i64, CacheError>;

    /// Adds `delta` (which may be negative) to the integer at `key` and returns the new value. Atomic.
    ///
    /// # Behaviour
    ///
    /// As [`incr`](CacheClient::incr), and the key gets the TTL `ttl` if it has none: because this call
    /// creates it, or because it lost its TTL in another way. A TTL that is running does not change, so a
    /// window that the first call opened ends on time. With [`Ttl::Forever`] the call never changes a TTL.
    ///
    /// # Errors
    ///
    /// As [`incr`](CacheClient::incr).
    async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError>;

    /// Sets the TTL of `key`, counted from now, and returns whether the key exists. [`Ttl::Forever`] removes
    /// the expiry.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for a `ttl` beyond [`Ttl::MAX`].
    async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError>;

    /// Returns the remaining TTL of `key`.
    ///
    /// # Errors
    ///
    /// [`CacheError::Miss`] if the key does not exist.
    async fn ttl(&self, key: &str) -> Result<Ttl, CacheError>;

    /// Returns the source of changes made elsewhere, or `None` if the backend does not report them.
    ///
    /// Each layer translates keys on the way up, the inverse of what it does to them on the way down.
    fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>>;

    /// Makes one round trip to every primary in use.
    ///
    /// # Errors
    ///
    /// The common errors of the trait, if any of the primaries does not answer.
    async fn ping(&self) -> Result<(), CacheError>;

    /// Closes the client. Calls in flight end with an error, later calls return [`CacheError::Closed`]. A
    /// second close does nothing.
    ///
    /// # Errors
    ///
    /// None at present. A client that has to flush something before it closes may fail to do so.
    async fn close(&self) -> Result<(), CacheError>;
}

/// The return type of a method of an `#[async_trait]`.
type Answer<'f, T> = Pin<Box<dyn Future<Output = Result<T, CacheError>> + Send + 'f>>;

/// The return type of a method with one result per key.
type Answers<'f, T> = Pin<Box<dyn Future<Output = Vec<Result<T, CacheError>>> + Send + 'f>>;

// The lifetimes are in the order of `#[async_trait]`: `'a` of the method itself, then `self`, then the
// arguments, then the future.
macro_rules! forward {
    ($name:ident($argument:ident: $type:ty) -> each $output:ty; 'a, 'k) => {
        #[inline]
        fn $name<'a, 's, 'k, 'f>(&'s self, $argument: $type) -> Answers<'f, $output>
        where 'a: 'f, 's: 'f, 'k: 'f, Self: 'f {
            (**self).$name($argument)
        }
    };
    ($name:ident($($argument:ident: $type:ty),*) -> $output:ty; 'a, 'k) => {
        #[inline]
        fn $name<'a, 's, 'k, 'f>(&'s self, $($argument: $type),*) -> Answer<'f, $output>
        where 'a: 'f, 's: 'f, 'k: 'f, Self: 'f {
            (**self).$name($($argument),*)
        }
    };
    ($name:ident($($argument:ident: $type:ty),*) -> $output:ty; $($lifetime:lifetime),*) => {
        #[inline]
        fn $name<'s, $($lifetime,)* 'f>(&'s self, $($argument: $type),*) -> Answer<'f, $output>
        where 's: 'f, $($lifetime: 'f,)* Self: 'f {
            (**self).$name($($argument),*)
        }
    };
}

// Every call through an `Arc<dyn CacheClient>` passes here. `#[async_trait]` would box the inner client's
// future a second time, so the signatures are written out and the future is passed on.
macro_rules! forward_to_the_client_inside {
    ($($pointer:ident),*) => { $(
        #[deny(clippy::missing_trait_methods)]
        impl<C: CacheClient + ?Sized> CacheClient for $pointer<C> {
            forward! { get(key: &'k str) -> Bytes; 'k }
            forward! { get_entry(key: &'k str) -> Entry; 'k }
            forward! { get_many(keys: &'k [&'a str]) -> Vec<Option<Bytes>>; 'a, 'k }
            forward! { get_each(keys: &'k [&'a str]) -> each Bytes; 'a, 'k }
            forward! { get_entries(keys: &'k [&'a str]) -> each Lookup; 'a, 'k }
            forward! { set(key: &'k str, value: Bytes, ttl: Ttl) -> (); 'k }
            forward! { set_many(entries: &'k [(&'a str, Bytes)], ttl: Ttl) -> (); 'a, 'k }
            forward! { set_each(entries: &'k [(&'a str, Bytes, Ttl)]) -> each (); 'a, 'k }
            forward! { set_if_absent(key: &'k str, value: Bytes, ttl: Ttl) -> bool; 'k }
            forward! {
                compare_and_set(key: &'k str, expected: &'e [u8], value: Bytes, ttl: Ttl) -> bool; 'k, 'e
            }
            forward! { compare_and_delete(key: &'k str, expected: &'e [u8]) -> bool; 'k, 'e }
            forward! { get_and_delete(key: &'k str) -> Bytes; 'k }
            forward! { get_and_expire(key: &'k str, ttl: Ttl) -> Bytes; 'k }
            forward! { del(keys: &'k [&'a str]) -> u64; 'a, 'k }
            forward! { exists(keys: &'k [&'a str]) -> u64; 'a, 'k }
            forward! { incr(key: &'k str) -> i64; 'k }
            forward! { incr_by(key: &'k str, delta: i64, ttl: Ttl) -> i64; 'k }
            forward! { expire(key: &'k str, ttl: Ttl) -> bool; 'k }
            forward! { ttl(key: &'k str) -> Ttl; 'k }
            forward! { ping() -> (); }
            forward! { close() -> (); }

            fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>> {
                (**self).invalidations()
            }
        }
    )* };
}

forward_to_the_client_inside!(Arc, Box);
