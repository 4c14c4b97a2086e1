//! Any client, with faults.

mod fault;
mod faults;
mod random;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{CacheClient, CacheError, Entry, InvalidationSource, Lookup, Stage, Ttl, check_key};
use tokio::sync::watch;

pub use fault::{Fault, Operation};
pub use faults::Faults;
use faults::Struck;
pub use random::RandomFaults;

/// A client over another one, whose calls go wrong as its [`Faults`] say. Without any it does what the
/// client inside does.
///
/// Faults are the backend's: a call that would not reach one (an illegal key, a life beyond the limit, an
/// empty list, a closed client) has its usual answer.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use cache_core::{CacheClient, CacheError, MemoryCache, Outcome};
/// use cache_mock::{Fault, FaultyCache, Operation};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let cache = FaultyCache::new(MemoryCache::default());
/// let faults = cache.faults().clone();
/// let cache: Arc<dyn CacheClient> = Arc::new(cache);
///
/// faults.next(Operation::Incr, Fault::LostReply(Duration::from_secs(3)));
/// let error = cache.incr("visits").await.unwrap_err();
/// assert_eq!(error.outcome(), Outcome::Unknown); // it was carried out, which the caller cannot know
/// assert_eq!(cache.get("visits").await?, "1");
/// assert_eq!(faults.calls(Operation::Incr), 1);
/// # Ok::<(), CacheError>(())
/// # }).unwrap();
/// ```
pub struct FaultyCache<C> {
    inner: C,
    faults: Faults,
    closed: watch::Sender<bool>,
}

/// One short line: what it stands on.
impl<C: fmt::Debug> fmt::Debug for FaultyCache<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyCache({:?})", self.inner)
    }
}

impl<C> FaultyCache<C> {
    /// A client over `inner`, without faults.
    pub fn new(inner: C) -> Self {
        Self {
            inner,
            faults: Faults::default(),
            closed: watch::Sender::new(false),
        }
    }

    /// The client inside.
    pub fn inner(&self) -> &C {
        &self.inner
    }

    /// The faults; keep a clone of them where the client is handed on.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Does `call`, which names no key, or what is to go wrong with it.
    async fn call<T>(
        &self,
        operation: Operation,
        does_io: bool,
        call: impl Future<Output = Result<T, CacheError>> + Send,
    ) -> Result<T, CacheError> {
        self.call_of(operation, &[], does_io, call).await
    }

    /// Does `call` of one key, or the same read of many, or what is to go wrong with it.
    async fn call_of<T>(
        &self,
        operation: Operation,
        keys: &[&str],
        does_io: bool,
        call: impl Future<Output = Result<T, CacheError>> + Send,
    ) -> Result<T, CacheError> {
        match self.fault(operation, keys, does_io).map(|struck| struck.fault) {
            None => call.await,
            Some(Fault::Partial { done, error }) => {
                if operation.writes() && done > 0 {
                    call.await?;
                }
                Err(error)
            }
            Some(fault) => self.suffer(fault, call).await,
        }
    }

    /// Does `call` for `items`, or what is to go wrong with some of them. `keys` and `checks` have a place for each item;
    /// one that is illegal keeps its own error.
    async fn each<I, T, Call>(
        &self,
        operation: Operation,
        items: &[I],
        keys: &[&str],
        checks: Vec<Result<(), CacheError>>,
        call: impl Fn(Vec<I>) -> Call + Send + Sync,
    ) -> Vec<Result<T, CacheError>>
    where
        I: Clone + Send + Sync,
        T: Send,
        Call: Future<Output = Vec<Result<T, CacheError>>> + Send,
    {
        let does_io = checks.iter().any(Result::is_ok);
        let Some(Struck { fault, keys: places }) = self.fault(operation, keys, does_io) else {
            return call(items.to_vec()).await;
        };
        let wrong: Vec<bool> = match (&fault, places) {
            (Fault::Partial { done, .. }, _) => (0..items.len()).map(|place| place >= *done).collect(),
            (_, Some(places)) => places,
            (_, None) => vec![true; items.len()],
        };
        let (struck, spared) = parted(items, Some(&wrong));
        let mut spared = call(spared).await.into_iter();
        let mut struck = match self.suffer(fault, async { Ok(call(struck.clone()).await) }).await {
            Ok(results) => results.into_iter(),
            Err(error) => {
                let checks = checks.into_iter().zip(&wrong).filter(|(_, wrong)| **wrong);
                let failed = checks.map(|(check, _)| Err(check.err().unwrap_or_else(|| error.clone())));
                failed.collect::<Vec<_>>().into_iter()
            }
        };
        let in_turn = wrong
            .iter()
            .filter_map(|wrong| if *wrong { struck.next() } else { spared.next() });
        in_turn.collect()
    }

    /// What is to go wrong with this call.
    fn fault(&self, operation: Operation, keys: &[&str], does_io: bool) -> Option<Struck> {
        self.faults
            .of_call(operation, keys, does_io && !*self.closed.borrow())
    }

    /// Does `call` as far as a fault that is the same for one key and for many lets it.
    async fn suffer<T>(
        &self,
        fault: Fault,
        call: impl Future<Output = Result<T, CacheError>> + Send,
    ) -> Result<T, CacheError> {
        match fault {
            Fault::Error(error) | Fault::Partial { error, .. } => Err(error),
            Fault::Delay(by) => {
                self.wait(tokio::time::sleep(by)).await?;
                call.await
            }
            Fault::LostRequest(after) => self.time_out(after).await,
            Fault::LostReply(after) => {
                // Whatever the reply is, it is lost; that it was given at all is the promise.
                let _lost = call.await;
                self.time_out(after).await
            }
            Fault::Hang => self.wait(std::future::pending()).await,
        }
    }

    async fn time_out<T>(&self, after: Duration) -> Result<T, CacheError> {
        self.wait(tokio::time::sleep(after)).await?;
        Err(CacheError::Timeout {
            stage: Stage::Reply,
            after,
        })
    }

    /// Waits, but not beyond the client's closing.
    async fn wait<T>(&self, for_it: impl Future<Output = T> + Send) -> Result<T, CacheError> {
        let mut closed = self.closed.subscribe();
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => Err(CacheError::Closed),
            waited = for_it => Ok(waited),
        }
    }
}

fn legal(keys: &[&str]) -> bool {
    !keys.is_empty() && keys.iter().all(|key| check_key(key).is_ok())
}

/// The items that go wrong, and the others; without a word all of them do.
fn parted<T: Clone>(items: &[T], wrong: Option<&[bool]>) -> (Vec<T>, Vec<T>) {
    let Some(wrong) = wrong else {
        return (items.to_vec(), Vec::new());
    };
    let those = |which: bool| {
        let items = items.iter().zip(wrong).filter(|(_, wrong)| **wrong == which);
        items.map(|(item, _)| item.clone()).collect()
    };
    (those(true), those(false))
}

fn lives(ttl: Ttl) -> bool {
    ttl.as_duration().is_ok()
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<C: CacheClient> CacheClient for FaultyCache<C> {
    async fn get(&self, key: &str) -> Result<Bytes, CacheError> {
        self.call_of(Operation::Get, &[key], legal(&[key]), self.inner.get(key))
            .await
    }

    async fn get_entry(&self, key: &str) -> Result<Entry, CacheError> {
        self.call_of(
            Operation::GetEntry,
            &[key],
            legal(&[key]),
            self.inner.get_entry(key),
        )
        .await
    }

    async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        self.call_of(Operation::GetMany, keys, legal(keys), self.inner.get_many(keys))
            .await
    }

    async fn get_each<'a>(&self, keys: &[&'a str]) -> Vec<Result<Bytes, CacheError>> {
        let checks = keys.iter().map(|key| check_key(key)).collect();
        let call = |keys: Vec<&'a str>| async move { self.inner.get_each(&keys).await };
        self.each(Operation::GetEach, keys, keys, checks, call).await
    }

    async fn get_entries<'a>(&self, keys: &[&'a str]) -> Vec<Result<Lookup, CacheError>> {
        let checks = keys.iter().map(|key| check_key(key)).collect();
        let call = |keys: Vec<&'a str>| async move { self.inner.get_entries(&keys).await };
        self.each(Operation::GetEntries, keys, keys, checks, call).await
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<(), CacheError> {
        let does_io = legal(&[key]) && lives(ttl);
        self.call_of(Operation::Set, &[key], does_io, self.inner.set(key, value, ttl))
            .await
    }

    async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError> {
        let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        let Some(struck) = self.fault(Operation::SetMany, &keys, legal(&keys) && lives(ttl)) else {
            return self.inner.set_many(entries, ttl).await;
        };
        if let Fault::Partial { done, error } = struck.fault {
            self.inner
                .set_many(&entries[..done.min(entries.len())], ttl)
                .await?;
            return Err(error);
        }
        let (wrong, spared) = parted(entries, struck.keys.as_deref());
        self.inner.set_many(&spared, ttl).await?;
        self.suffer(struck.fault, self.inner.set_many(&wrong, ttl)).await
    }

    async fn set_each<'a>(&self, entries: &[(&'a str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>> {
        let check =
            |(key, _, ttl): &(&str, Bytes, Ttl)| check_key(key).and_then(|()| ttl.as_duration().map(drop));
        let checks = entries.iter().map(check).collect();
        let keys: Vec<&str> = entries.iter().map(|(key, ..)| *key).collect();
        let call = |entries: Vec<(&'a str, Bytes, Ttl)>| async move { self.inner.set_each(&entries).await };
        self.each(Operation::SetEach, entries, &keys, checks, call).await
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<bool, CacheError> {
        let does_io = legal(&[key]) && lives(ttl);
        self.call_of(
            Operation::SetIfAbsent,
            &[key],
            does_io,
            self.inner.set_if_absent(key, value, ttl),
        )
        .await
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: &[u8],
        value: Bytes,
        ttl: Ttl,
    ) -> Result<bool, CacheError> {
        let does_io = legal(&[key]) && lives(ttl);
        let call = self.inner.compare_and_set(key, expected, value, ttl);
        self.call_of(Operation::CompareAndSet, &[key], does_io, call)
            .await
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError> {
        let call = self.inner.compare_and_delete(key, expected);
        self.call_of(Operation::CompareAndDelete, &[key], legal(&[key]), call)
            .await
    }

    async fn get_and_delete(&self, key: &str) -> Result<Bytes, CacheError> {
        let call = self.inner.get_and_delete(key);
        self.call_of(Operation::GetAndDelete, &[key], legal(&[key]), call)
            .await
    }

    async fn get_and_expire(&self, key: &str, ttl: Ttl) -> Result<Bytes, CacheError> {
        let does_io = legal(&[key]) && lives(ttl);
        let call = self.inner.get_and_expire(key, ttl);
        self.call_of(Operation::GetAndExpire, &[key], does_io, call).await
    }

    async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        let Some(struck) = self.fault(Operation::Del, keys, legal(keys)) else {
            return self.inner.del(keys).await;
        };
        if let Fault::Partial { done, error } = struck.fault {
            self.inner.del(&keys[..done.min(keys.len())]).await?;
            return Err(error);
        }
        let (wrong, spared) = parted(keys, struck.keys.as_deref());
        let gone = self.inner.del(&spared).await?;
        Ok(gone + self.suffer(struck.fault, self.inner.del(&wrong)).await?)
    }

    async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        self.call_of(Operation::Exists, keys, legal(keys), self.inner.exists(keys))
            .await
    }

    async fn incr(&self, key: &str) -> Result<i64, CacheError> {
        self.call_of(Operation::Incr, &[key], legal(&[key]), self.inner.incr(key))
            .await
    }

    async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError> {
        let does_io = legal(&[key]) && lives(ttl);
        self.call_of(
            Operation::IncrBy,
            &[key],
            does_io,
            self.inner.incr_by(key, delta, ttl),
        )
        .await
    }

    async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError> {
        let does_io = legal(&[key]) && lives(ttl);
        self.call_of(Operation::Expire, &[key], does_io, self.inner.expire(key, ttl))
            .await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl, CacheError> {
        self.call_of(Operation::Ttl, &[key], legal(&[key]), self.inner.ttl(key))
            .await
    }

    fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>> {
        self.inner.invalidations()
    }

    async fn ping(&self) -> Result<(), CacheError> {
        self.call(Operation::Ping, true, self.inner.ping()).await
    }

    async fn close(&self) -> Result<(), CacheError> {
        self.call(Operation::Close, true, self.inner.close()).await?;
        self.closed.send_replace(true);
        Ok(())
    }
}
