//! A guard, and the faults of the client in it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::{CacheClient, CacheError, MemoryCache, Ttl, clock};
use cache_layers::guarded::GuardedConfigBuilder;
use cache_layers::{Guarded, GuardedConfig};
use cache_mock::{Fault, Faults, FaultyCache, Operation};

pub(crate) const KEY: &str = "key";
pub(crate) const OPEN_FOR: Duration = Duration::from_secs(1);

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A guard of a client whose faults are the second part.
pub(crate) fn guard(
    change: impl FnOnce(GuardedConfigBuilder) -> GuardedConfigBuilder,
) -> (Arc<Guarded>, Faults) {
    let client = FaultyCache::new(MemoryCache::default());
    let faults = client.faults().clone();
    let config = change(GuardedConfig::builder()).build().unwrap();
    (Arc::new(Guarded::new(Arc::new(client), config)), faults)
}

/// A guard that has just opened: after so many calls as it takes by default.
pub(crate) async fn opened(
    change: impl FnOnce(GuardedConfigBuilder) -> GuardedConfigBuilder,
) -> (Arc<Guarded>, Faults) {
    let (cache, faults) = guard(change);
    faults.always(Operation::ALL, &Fault::connection_lost());
    for _ in 0..20 {
        cache.ping().await.unwrap_err();
    }
    assert_eq!(cache.stats().opened, 1);
    (cache, faults)
}

/// How long a call takes, in virtual time.
pub(crate) async fn timed<T>(call: impl Future<Output = T>) -> (T, Duration) {
    let started = clock::now();
    let result = call.await;
    (result, started.elapsed())
}

/// Calls a method of the contract; the answer as text.
pub(crate) async fn ask(cache: &dyn CacheClient, operation: Operation) -> Result<String, CacheError> {
    fn text<T: std::fmt::Debug>(result: Result<T, CacheError>) -> Result<String, CacheError> {
        result.map(|value| format!("{value:?}"))
    }
    let value = || Bytes::from_static(b"1");
    let ttl = Ttl::secs(600);
    match operation {
        Operation::Get => text(cache.get(KEY).await),
        Operation::GetEntry => text(cache.get_entry(KEY).await),
        Operation::GetMany => text(cache.get_many(&[KEY, "other"]).await),
        Operation::GetEach => text(cache.get_each(&[KEY]).await.remove(0)),
        Operation::GetEntries => text(cache.get_entries(&[KEY]).await.remove(0)),
        Operation::SetEach => text(cache.set_each(&[(KEY, value(), ttl)]).await.remove(0)),
        Operation::GetAndDelete => text(cache.get_and_delete(KEY).await),
        Operation::GetAndExpire => text(cache.get_and_expire(KEY, ttl).await),
        Operation::Set => text(cache.set(KEY, value(), ttl).await),
        Operation::SetMany => text(cache.set_many(&[(KEY, value())], ttl).await),
        Operation::SetIfAbsent => text(cache.set_if_absent(KEY, value(), ttl).await),
        Operation::CompareAndSet => text(cache.compare_and_set(KEY, b"0", value(), ttl).await),
        Operation::CompareAndDelete => text(cache.compare_and_delete(KEY, b"0").await),
        Operation::Del => text(cache.del(&[KEY]).await),
        Operation::Exists => text(cache.exists(&[KEY]).await),
        Operation::Incr => text(cache.incr(KEY).await),
        Operation::IncrBy => text(cache.incr_by(KEY, 2, ttl).await),
        Operation::Expire => text(cache.expire(KEY, ttl).await),
        Operation::Ttl => text(cache.ttl(KEY).await),
        Operation::Ping => text(cache.ping().await),
        Operation::Close => text(cache.close().await),
        other => panic!("the tests do not know {other:?}"),
    }
}
