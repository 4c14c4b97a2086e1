//! Wraps any client and injects faults.

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
use faults::InjectedFault;
pub use random::RandomFaults;

/// A client around another one, whose calls fail as its [`Faults`] say. Without faults it behaves like the
/// inner client.
///
/// Faults belong to the backend: a call that would not reach it (an invalid key, a TTL beyond the limit, an
/// empty list, a closed client) has its usual result.
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

/// One short line, which names the inner client.
impl<C: fmt::Debug> fmt::Debug for FaultyCache<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyCache({:?})", self.inner)
    }
}

impl<C> FaultyCache<C> {
    /// Wraps `inner`, without faults.
    pub fn new(inner: C) -> Self {
        Self {
            inner,
            faults: Faults::default(),
            closed: watch::Sender::new(false),
        }
    }

    /// The inner client.
    pub fn inner(&self) -> &C {
        &self.inner
    }

    /// The faults. Clone them before passing the client on.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Runs `call`, which has no key, or its fault.
    async fn call<T>(
        &self,
        operation: Operation,
        does_io: bool,
        call: impl Future<Output = Result<T, CacheError>> + Send,
    ) -> Result<T, CacheError> {
        self.call_of(operation, &[], does_io, call).await
    }

    /// Runs `call` of one key, or a read of many keys, or its fault.
    async fn call_of<T>(
        &self,
        operation: Operation,
        keys: &[&str],
        does_io: bool,
        call: impl Future<Output = Result<T, CacheError>> + Send,
    ) -> Result<T, CacheError> {
        match self
            .fault(operation, keys, does_io)
            .map(|injected| injected.fault)
        {
            None => call.await,
            Some(Fault::Partial { done, error }) => {
                if operation.writes() && done > 0 {
                    call.await?;
                }
                Err(error)
            }
            Some(fault) => self.apply_fault(fault, call).await,
        }
    }

    /// Runs `call` for `items`, or the faults of some of them. `keys` and `checks` have one element per item;
    /// an invalid item keeps its own error.
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
        let Some(InjectedFault {
            fault,
            keys: affected,
        }) = self.fault(operation, keys, does_io)
        else {
            return call(items.to_vec()).await;
        };
        let failing: Vec<bool> = match (&fault, affected) {
            (Fault::Partial { done, .. }, _) => (0..items.len()).map(|position| position >= *done).collect(),
            (_, Some(affected)) => affected,
            (_, None) => vec![true; items.len()],
        };
        let (injected, working) = split_items(items, Some(&failing));
        let mut working = call(working).await.into_iter();
        let mut injected = match self
            .apply_fault(fault, async { Ok(call(injected.clone()).await) })
            .await
        {
            Ok(results) => results.into_iter(),
            Err(error) => {
                let checks = checks.into_iter().zip(&failing).filter(|(_, failing)| **failing);
                let failed = checks.map(|(check, _)| Err(check.err().unwrap_or_else(|| error.clone())));
                failed.collect::<Vec<_>>().into_iter()
            }
        };
        let in_turn = failing
            .iter()
            .filter_map(|failing| if *failing { injected.next() } else { working.next() });
        in_turn.collect()
    }

    /// The fault of this call.
    fn fault(&self, operation: Operation, keys: &[&str], does_io: bool) -> Option<InjectedFault> {
        self.faults
            .of_call(operation, keys, does_io && !*self.closed.borrow())
    }

    /// Runs `call` with a fault that does not depend on the number of keys.
    async fn apply_fault<T>(
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
                // The reply is lost, but the call was applied.
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

    /// Waits until the client closes at most.
    async fn wait<T>(&self, for_it: impl Future<Output = T> + Send) -> Result<T, CacheError> {
        let mut closed = self.closed.subscribe();
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => Err(CacheError::Closed),
            waited = for_it => Ok(waited),
        }
    }
}

fn are_valid_keys(keys: &[&str]) -> bool {
    !keys.is_empty() && keys.iter().all(|key| check_key(key).is_ok())
}

/// Splits items into failing and working ones; all fail if `failing` is `None`.
fn split_items<T: Clone>(items: &[T], failing: Option<&[bool]>) -> (Vec<T>, Vec<T>) {
    let Some(failing) = failing else {
        return (items.to_vec(), Vec::new());
    };
    let those = |which: bool| {
        let items = items
            .iter()
            .zip(failing)
            .filter(|(_, failing)| **failing == which);
        items.map(|(item, _)| item.clone()).collect()
    };
    (those(true), those(false))
}

fn is_valid_ttl(ttl: Ttl) -> bool {
    ttl.as_duration().is_ok()
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<C: CacheClient> CacheClient for FaultyCache<C> {
    async fn get(&self, key: &str) -> Result<Bytes, CacheError> {
        self.call_of(
            Operation::Get,
            &[key],
            are_valid_keys(&[key]),
            self.inner.get(key),
        )
        .await
    }

    async fn get_entry(&self, key: &str) -> Result<Entry, CacheError> {
        self.call_of(
            Operation::GetEntry,
            &[key],
            are_valid_keys(&[key]),
            self.inner.get_entry(key),
        )
        .await
    }

    async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        self.call_of(
            Operation::GetMany,
            keys,
            are_valid_keys(keys),
            self.inner.get_many(keys),
        )
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
        let does_io = are_valid_keys(&[key]) && is_valid_ttl(ttl);
        self.call_of(Operation::Set, &[key], does_io, self.inner.set(key, value, ttl))
            .await
    }

    async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError> {
        let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        let Some(injected) = self.fault(
            Operation::SetMany,
            &keys,
            are_valid_keys(&keys) && is_valid_ttl(ttl),
        ) else {
            return self.inner.set_many(entries, ttl).await;
        };
        if let Fault::Partial { done, error } = injected.fault {
            self.inner
                .set_many(&entries[..done.min(entries.len())], ttl)
                .await?;
            return Err(error);
        }
        let (failing, working) = split_items(entries, injected.keys.as_deref());
        self.inner.set_many(&working, ttl).await?;
        self.apply_fault(injected.fault, self.inner.set_many(&failing, ttl))
            .await
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
        let does_io = are_valid_keys(&[key]) && is_valid_ttl(ttl);
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
        let does_io = are_valid_keys(&[key]) && is_valid_ttl(ttl);
        let call = self.inner.compare_and_set(key, expected, value, ttl);
        self.call_of(Operation::CompareAndSet, &[key], does_io, call)
            .await
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError> {
        let call = self.inner.compare_and_delete(key, expected);
        self.call_of(Operation::CompareAndDelete, &[key], are_valid_keys(&[key]), call)
            .await
    }

    async fn get_and_delete(&self, key: &str) -> Result<Bytes, CacheError> {
        let call = self.inner.get_and_delete(key);
        self.call_of(Operation::GetAndDelete, &[key], are_valid_keys(&[key]), call)
            .await
    }

    async fn get_and_expire(&self, key: &str, ttl: Ttl) -> Result<Bytes, CacheError> {
        let does_io = are_valid_keys(&[key]) && is_valid_ttl(ttl);
        let call = self.inner.get_and_expire(key, ttl);
        self.call_of(Operation::GetAndExpire, &[key], does_io, call).await
    }

    async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        let Some(injected) = self.fault(Operation::Del, keys, are_valid_keys(keys)) else {
            return self.inner.del(keys).await;
        };
        if let Fault::Partial { done, error } = injected.fault {
            self.inner.del(&keys[..done.min(keys.len())]).await?;
            return Err(error);
        }
        let (failing, working) = split_items(keys, injected.keys.as_deref());
        let gone = self.inner.del(&working).await?;
        Ok(gone + self.apply_fault(injected.fault, self.inner.del(&failing)).await?)
    }

    async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        self.call_of(
            Operation::Exists,
            keys,
            are_valid_keys(keys),
            self.inner.exists(keys),
        )
        .await
    }

    async fn incr(&self, key: &str) -> Result<i64, CacheError> {
        self.call_of(
            Operation::Incr,
            &[key],
            are_valid_keys(&[key]),
            self.inner.incr(key),
        )
        .await
    }

    async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError> {
        let does_io = are_valid_keys(&[key]) && is_valid_ttl(ttl);
        self.call_of(
            Operation::IncrBy,
            &[key],
            does_io,
            self.inner.incr_by(key, delta, ttl),
        )
        .await
    }

    async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError> {
        let does_io = are_valid_keys(&[key]) && is_valid_ttl(ttl);
        self.call_of(Operation::Expire, &[key], does_io, self.inner.expire(key, ttl))
            .await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl, CacheError> {
        self.call_of(
            Operation::Ttl,
            &[key],
            are_valid_keys(&[key]),
            self.inner.ttl(key),
        )
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
