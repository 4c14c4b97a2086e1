//! The contract: what every cache client does.
//!
//! All methods are required, so that a wrapper cannot bypass the client inside it by forgetting one.
//! Sugar lives in [`CacheClientExt`](crate::CacheClientExt).

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{CacheError, Entry, InvalidationSource, Ttl};

/// A cache, used as `Arc<dyn CacheClient>`.
///
/// # Keys and values
///
/// A key is not empty and at most [`MAX_KEY_LEN`](crate::MAX_KEY_LEN) bytes long; anything else is
/// [`CacheError::InvalidInput`] without I/O. A value is any bytes, also none; the largest is up to the
/// backend, and a larger one is [`CacheError::InvalidInput`] with nothing stored.
///
/// # Errors
///
/// Besides what a method names, every method that does I/O may answer [`CacheError::Timeout`],
/// [`CacheError::Unavailable`], [`CacheError::Unauthorized`], [`CacheError::Denied`] and, after
/// [`close`](CacheClient::close), [`CacheError::Closed`].
///
/// # Cancel safety
///
/// Every method is cancel safe: dropping its future leaves the client usable and never lets another
/// call see its reply. A write whose future is dropped may or may not have been carried out.
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
    /// [`CacheError::Miss`] where there is none or it has expired; [`CacheError::Rejected`] where the
    /// key holds something other than bytes.
    async fn get(&self, key: &str) -> Result<Bytes, CacheError>;

    /// Reads the value of `key` and what is left of its life, in one round trip.
    ///
    /// # Behaviour
    ///
    /// Where the backend tracks reads ([`invalidations`](CacheClient::invalidations)), this one is
    /// tracked, and [`Entry::tracked`] says so.
    ///
    /// # Errors
    ///
    /// As [`get`](CacheClient::get).
    async fn get_entry(&self, key: &str) -> Result<Entry, CacheError>;

    /// Reads many keys, in any slots: one round trip per node, all nodes at once.
    ///
    /// # Behaviour
    ///
    /// The answer has one place per key, in the order of `keys`; a miss is `None`; a key given twice is
    /// answered twice. An empty list does no I/O.
    ///
    /// # Errors
    ///
    /// One failing key fails the call; an invalid key fails it before anything is sent.
    async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError>;

    /// Reads many keys, in any slots, with one result per key: one round trip per node, all nodes at once.
    ///
    /// # Behaviour
    ///
    /// The answer has one result per key, in the order of `keys`; a key given twice is answered twice. What
    /// goes wrong concerns as few keys as possible: a node that is down fails its own keys, a slot that moves
    /// delays its own keys, and an invalid key or a value of another type fails that key only. Every result is
    /// there by the deadline of a single call. At the deadline a key that the backend has answered keeps its
    /// answer; only the others fail. An empty list does no I/O.
    ///
    /// Use [`get_many`](CacheClient::get_many) if the values are of use only together.
    ///
    /// # Errors
    ///
    /// The call itself cannot fail. A key's result is as that of [`get`](CacheClient::get): a miss is
    /// [`CacheError::Miss`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. A dropped call loses the answers that have arrived.
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

    /// Stores `value` under `key`, replacing both an older value and its life.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for a `ttl` beyond [`Ttl::MAX`].
    async fn set(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<(), CacheError>;

    /// Stores many values, in any slots: one round trip per node, all nodes at once.
    ///
    /// # Behaviour
    ///
    /// Each entry is stored atomically, the list is not: after an error some may have been stored. Of a
    /// key given twice the last value stays. An empty list does no I/O.
    ///
    /// # Errors
    ///
    /// As [`set`](CacheClient::set); an invalid entry fails the call before anything is sent.
    async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError>;

    /// Stores many values, in any slots, with one TTL and one result per entry: one round trip per node, all
    /// nodes at once.
    ///
    /// # Behaviour
    ///
    /// As [`get_each`](CacheClient::get_each), with one result per entry. Each entry is stored atomically, the
    /// list is not. Of a key given twice the last legal entry counts, and its result is that of the others. An
    /// empty list does no I/O.
    ///
    /// # Errors
    ///
    /// The call itself cannot fail. An entry's result is as that of [`set`](CacheClient::set); after an error
    /// whose [`outcome`](CacheError::outcome) is unknown that entry may have been stored.
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

    /// Stores `value` only where `key` holds nothing; whether it did. Atomic.
    ///
    /// # Errors
    ///
    /// As [`set`](CacheClient::set). After an error whose [`outcome`](CacheError::outcome) is unknown the
    /// value may have been stored; this call is never repeated on its own in that case.
    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<bool, CacheError>;

    /// Replaces the value of `key` by `value` only where it equals `expected`, byte by byte; whether it
    /// did. Atomic. A missing key is no match. The life becomes `ttl`.
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

    /// Deletes `key` only where its value equals `expected`, byte by byte; whether it did. Atomic.
    ///
    /// # Errors
    ///
    /// As [`set_if_absent`](CacheClient::set_if_absent).
    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError>;

    /// Deletes `key` and returns the value it held. Atomic: of many callers at once exactly one gets the value.
    ///
    /// # Behaviour
    ///
    /// The client never repeats this call on its own while the outcome of a try is unknown. After such an error
    /// ([`outcome`](CacheError::outcome)) the value may be gone, and a second call cannot bring it back: a reply
    /// that is lost loses the value. Use [`get`](CacheClient::get) and
    /// [`compare_and_delete`](CacheClient::compare_and_delete) for a value that must not get lost.
    ///
    /// # Errors
    ///
    /// As [`get`](CacheClient::get). A key that holds something other than bytes stays as it is.
    ///
    /// # Cancel safety
    ///
    /// As for every write: after a dropped call the value may be gone.
    async fn get_and_delete(&self, key: &str) -> Result<Bytes, CacheError>;

    /// Reads the value of `key` and sets its TTL, counted from now; [`Ttl::Forever`] removes the expiry. Atomic.
    /// This makes a sliding TTL: each read extends it.
    ///
    /// # Behaviour
    ///
    /// The value and the TTL are those of the same entry. The client may repeat this call after a lost reply:
    /// the second try only sets the same TTL again. It is a write and goes to the primary. What it
    /// reads is not [tracked](CacheClient::invalidations).
    ///
    /// # Errors
    ///
    /// As [`get`](CacheClient::get), and [`CacheError::InvalidInput`] for a `ttl` beyond [`Ttl::MAX`].
    async fn get_and_expire(&self, key: &str, ttl: Ttl) -> Result<Bytes, CacheError>;

    /// Deletes keys, in any slots; how many of them existed.
    ///
    /// # Behaviour
    ///
    /// None of them existing is fine. A key given twice counts once. An empty list does no I/O. Where the
    /// client had to repeat the call after a lost reply, keys that the first try deleted are not counted.
    ///
    /// # Errors
    ///
    /// As the trait says; after an error some of the keys may be gone.
    async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError>;

    /// How many of `keys`, in any slots, exist. A key given twice counts twice, as the server counts.
    /// An empty list does no I/O.
    ///
    /// # Errors
    ///
    /// As the trait says.
    async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError>;

    /// Adds one to the integer at `key`, atomically; the new value.
    ///
    /// # Behaviour
    ///
    /// A missing key counts as 0, and one made by this call never expires. The life of an existing key
    /// stays as it is. An integer is what the server takes for one: decimal, no leading zeros, no spaces,
    /// within `i64`.
    ///
    /// # Errors
    ///
    /// [`CacheError::Rejected`] where the value is no integer or would overflow; the value is unchanged.
    /// Never repeated on its own where the outcome of a try is unknown.
    async fn incr(&self, key: &str) -> Result<i64, CacheError>;

    /// Adds `delta` (which may be negative) to the integer at `key`, atomically; the new value.
    ///
    /// # Behaviour
    ///
    /// As [`incr`](CacheClient::incr), and the key gets the life `ttl` where it has none: when this call
    /// creates it, and when it lost its life otherwise. A life that runs is left alone, so a window that
    /// was opened by the first call ends on time. [`Ttl::Forever`] leaves lives alone altogether.
    ///
    /// # Errors
    ///
    /// As [`incr`](CacheClient::incr).
    async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError>;

    /// Sets the life of `key` anew, counted from now; [`Ttl::Forever`] takes its expiry away. Whether the
    /// key exists.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for a `ttl` beyond [`Ttl::MAX`].
    async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError>;

    /// What is left of the life of `key`.
    ///
    /// # Errors
    ///
    /// [`CacheError::Miss`] where the key does not exist.
    async fn ttl(&self, key: &str) -> Result<Ttl, CacheError>;

    /// Where changes made elsewhere can be heard; `None` where the backend does not report them.
    ///
    /// Each layer translates keys on the way up, undoing what it does to them on the way down.
    fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>>;

    /// One round trip to every primary in use.
    ///
    /// # Errors
    ///
    /// As the trait says, where any of them does not answer.
    async fn ping(&self) -> Result<(), CacheError>;

    /// Closes the client: calls in flight end with an error, later ones are [`CacheError::Closed`].
    /// Closing again is fine.
    ///
    /// # Errors
    ///
    /// None at present; a client that has something to hand in before it closes may fail to.
    async fn close(&self) -> Result<(), CacheError>;
}

/// What a method of an `#[async_trait]` returns.
type Answer<'f, T> = Pin<Box<dyn Future<Output = Result<T, CacheError>> + Send + 'f>>;

/// The same of a method that answers each key on its own.
type Answers<'f, T> = Pin<Box<dyn Future<Output = Vec<Result<T, CacheError>>> + Send + 'f>>;

// The lifetimes stand in the order in which `#[async_trait]` puts them: `'a` of the method itself, then
// `self`, then the arguments, then the future.
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
    ($name:ident($($argument:ident: $type:ty),*) -> $output:ty; $($life:lifetime),*) => {
        #[inline]
        fn $name<'s, $($life,)* 'f>(&'s self, $($argument: $type),*) -> Answer<'f, $output>
        where 's: 'f, $($life: 'f,)* Self: 'f {
            (**self).$name($($argument),*)
        }
    };
}

// Every call through an `Arc<dyn CacheClient>` comes through here. `#[async_trait]` would put the future of
// the client inside into a second box; so its signatures are written out, and the future is handed on.
macro_rules! forward_to_the_client_inside {
    ($($pointer:ident),*) => { $(
        #[deny(clippy::missing_trait_methods)]
        impl<C: CacheClient + ?Sized> CacheClient for $pointer<C> {
            forward! { get(key: &'k str) -> Bytes; 'k }
            forward! { get_entry(key: &'k str) -> Entry; 'k }
            forward! { get_many(keys: &'k [&'a str]) -> Vec<Option<Bytes>>; 'a, 'k }
            forward! { get_each(keys: &'k [&'a str]) -> each Bytes; 'a, 'k }
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
