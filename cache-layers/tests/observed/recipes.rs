//! Recipes, as metrics show them: what their callers saw is what is counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheClient as _, Keyspace, MemoryCache, Pattern};
use cache_layers::idempotency::{Acquired, Fingerprint, OnFailure};
use cache_layers::read_through::Json;
use cache_layers::{
    Generations, GenerationsConfig, Idempotency, IdempotencyConfig, Loaded, Lock, LockConfig, NearConfig,
    Quota, RateLimiter, RateLimiterConfig, ReadThroughConfig, TypedReadThrough,
};
use cache_mock::{Fault, Faults, FaultyCache, Operation};

use crate::every_call::KEY;
use crate::rig::Rig;

const SECOND: Duration = Duration::from_secs(1);

fn faulty() -> (Arc<FaultyCache<MemoryCache>>, Faults) {
    let cache = FaultyCache::new(MemoryCache::default());
    let faults = cache.faults().clone();
    (Arc::new(cache), faults)
}

/// The counts that are not zero.
fn counts(rig: &Rig, metric: &str) -> BTreeMap<String, u64> {
    let mut counts = rig.values(metric);
    counts.retain(|_, count| *count > 0);
    counts
}

fn expected<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts.map(|(label, count)| (label.to_owned(), count)).into()
}

/// The metric that N-6 of the field report was about: it showed 18 % where callers saw 97 %.
#[tokio::test(start_paused = true)]
async fn hit_ratio_of_a_read_through_is_that_of_its_callers() {
    let rig = Rig::new();
    let config = ReadThroughConfig::builder().listener(rig.metrics.listener());
    let (cache, faults) = faulty();
    let reads = TypedReadThrough::<String>::new(cache, Json, config.build().unwrap(), NearConfig::default());
    rig.metrics.watch_typed(&reads);
    let read = async |key: &str| {
        let load = || async { Ok::<_, std::io::Error>(Loaded::of("value".to_owned())) };
        reads.get_or_load(key, load).await.unwrap();
    };
    for _ in 0..33 {
        for key in ["a", "b", "c"] {
            read(key).await;
        }
    }
    let missing = || async { Ok::<_, std::io::Error>(Loaded::absent()) };
    reads.get_or_load("none", missing).await.unwrap();
    reads.settled().await;
    assert_eq!(
        counts(&rig, "cache.read_through.answers"),
        expected([("hit", 96), ("miss", 4)]),
        "three loads and one that found nothing, of 100 calls"
    );
    let near = counts(&rig, "cache.near.lookups");
    assert!(
        near["hit"] >= 93,
        "the near tier of a typed read-through counts, too: {near:?}"
    );

    // A call that ends with an error is a miss, too; so is each of those who waited for the same load.
    faults.always(Operation::ALL, &Fault::connection_lost());
    let failing = || async { Err::<Loaded<String>, _>(std::io::Error::other("no database")) };
    let calls = [reads.get_or_load("d", failing), reads.get_or_load("d", failing)];
    assert!(futures::future::join_all(calls).await.iter().all(Result::is_err));
    assert_eq!(counts(&rig, "cache.read_through.answers")["miss"], 6);
}

#[tokio::test(start_paused = true)]
async fn batch_of_a_read_through_counts_each_key_once() {
    let rig = Rig::new();
    let config = ReadThroughConfig::builder().listener(rig.metrics.listener());
    let cache = Arc::new(MemoryCache::default());
    let reads = TypedReadThrough::<String>::new(cache, Json, config.build().unwrap(), NearConfig::default());
    for _ in 0..2 {
        let load = |keys: Vec<String>| async {
            Ok::<_, std::io::Error>(keys.into_iter().map(|key| Ok(Loaded::of(key))).collect())
        };
        let answers = reads.get_or_load_many(&["a", "b", "c", "a"], load).await;
        assert!(answers.iter().all(Result::is_ok));
        reads.settled().await;
    }
    assert_eq!(
        counts(&rig, "cache.read_through.answers"),
        expected([("hit", 3), ("miss", 3)])
    );
}

#[tokio::test(start_paused = true)]
async fn lock_tells_who_got_it_how_long_that_took_and_how_it_ended() {
    let rig = Rig::new();
    let (cache, faults) = faulty();
    let config = LockConfig::builder()
        .lease(SECOND)
        .listener(rig.metrics.listener());
    let locks = Lock::new(cache.clone(), config.build().unwrap());

    locks.try_acquire("").await.unwrap_err();
    let held = locks.acquire(KEY, SECOND).await.unwrap();
    assert!(locks.try_acquire(KEY).await.unwrap().is_none());
    locks.acquire(KEY, SECOND).await.unwrap_err();
    held.release().await.unwrap();
    // Lost: deleted by somebody else. Reported while it is held.
    let held = locks.acquire(KEY, SECOND).await.unwrap();
    let lock = Pattern::new(format!("{KEY}:#lock*")).unwrap();
    assert_eq!(cache.inner().invalidate(&lock), 1);
    held.lost().await;
    tokio::task::yield_now().await;
    assert_eq!(
        counts(&rig, "cache.lock.ends"),
        expected([("gone", 1), ("released", 1)])
    );
    held.release().await.unwrap();
    // Lost: the cache does not answer any more.
    let held = locks.acquire(KEY, SECOND).await.unwrap();
    faults.always(Operation::ALL, &Fault::connection_lost());
    held.lost().await;
    locks.try_acquire(KEY).await.unwrap_err();
    drop(held);
    tokio::time::sleep(SECOND).await;

    assert_eq!(
        counts(&rig, "cache.lock.requests"),
        expected([("acquired", 3), ("failed", 1), ("taken", 2)])
    );
    assert_eq!(
        counts(&rig, "cache.lock.ends"),
        expected([("expired", 1), ("gone", 1), ("released", 1)])
    );
    assert_eq!(
        counts(&rig, "cache.recipe.failures"),
        expected([("lock unavailable", 1)])
    );
    let durations = |metric: &str| {
        let points = rig.points().into_iter().filter(|point| point.metric == metric);
        points.map(|point| point.seconds).sum::<f64>()
    };
    let waited = durations("cache.lock.wait.duration");
    assert!(
        (1.0..1.1).contains(&waited),
        "one request waited a second for nothing: {waited}"
    );
    let held = durations("cache.lock.held.duration");
    assert!((1.8..2.2).contains(&held), "{held}");
}

#[tokio::test(start_paused = true)]
async fn idempotent_requests_are_counted_by_what_they_were_told_and_runs_by_what_they_left() {
    let rig = Rig::new();
    let (cache, faults) = faulty();
    let with = |on_failure| {
        let config = IdempotencyConfig::builder()
            .on_failure(on_failure)
            .max_response(8)
            .listener(rig.metrics.listener());
        Idempotency::new(
            cache.clone(),
            Keyspace::new("billing").unwrap(),
            config.build().unwrap(),
        )
    };
    let payments = with(OnFailure::Refuse);
    let request = Fingerprint::of(["charge"]);
    let run = async |key: &str| match payments.acquire("acme", key, request).await.unwrap() {
        Acquired::Run(claim) => claim,
        other => panic!("{other:?}"),
    };

    let claim = run("1").await;
    let told = payments.acquire("acme", "1", request).await.unwrap();
    assert!(matches!(told, Acquired::InProgress { .. }));
    claim.complete("receipt").await.unwrap();
    drop(payments.acquire("acme", "1", request).await.unwrap());
    let other = Fingerprint::of(["other"]);
    drop(payments.acquire("acme", "1", other).await.unwrap());
    run("2").await.complete("more than fits").await.unwrap();
    drop(payments.acquire("acme", "2", request).await.unwrap());
    run("3").await.release().await.unwrap();
    let claim = run("4").await;
    faults.always(Operation::ALL, &Fault::connection_lost());
    claim.complete("receipt").await.unwrap_err();
    payments.acquire("acme", "5", request).await.unwrap_err();
    let told = with(OnFailure::RunUnprotected)
        .acquire("acme", "6", request)
        .await
        .unwrap();
    let Acquired::Run(claim) = told else {
        panic!("{told:?}")
    };
    claim.complete("receipt").await.unwrap();
    // The keeper of "4" tries for as long as a claim lives.
    tokio::time::sleep(SECOND * 120).await;

    assert_eq!(
        counts(&rig, "cache.idempotency.requests"),
        expected([
            ("failed", 1),
            ("in_progress", 1),
            ("mismatch", 1),
            ("not_replayable", 1),
            ("replayed", 1),
            ("run", 4),
            ("unprotected", 1),
        ])
    );
    assert_eq!(
        counts(&rig, "cache.idempotency.ends"),
        expected([("not_kept", 1), ("not_stored", 1), ("released", 1), ("stored", 1)])
    );
    assert_eq!(
        counts(&rig, "cache.recipe.failures"),
        expected([("idempotency unavailable", 3)])
    );
}

#[tokio::test(start_paused = true)]
async fn limiter_counts_its_decisions_and_its_statistics_say_the_same() {
    let rig = Rig::new();
    let (cache, faults) = faulty();
    let config = RateLimiterConfig::builder().listener(rig.metrics.listener());
    let limiter = RateLimiter::new(cache, config.build().unwrap());
    let quota = Quota::fixed(2, SECOND * 3_600);
    for _ in 0..2 {
        assert!(limiter.check(KEY, &quota).await.unwrap().allowed);
    }
    // Denied by the cache, and for a while after that from memory.
    for _ in 0..2 {
        assert!(!limiter.check(KEY, &quota).await.unwrap().allowed);
    }
    faults.always(Operation::ALL, &Fault::connection_lost());
    assert!(limiter.check("another", &quota).await.unwrap().allowed);
    assert_eq!(
        counts(&rig, "cache.rate_limiter.calls"),
        expected([
            ("allowed", 2),
            ("denied", 1),
            ("denied_from_memory", 1),
            ("uncounted", 1)
        ])
    );
    assert_eq!(
        counts(&rig, "cache.recipe.failures"),
        expected([("rate_limiter unavailable", 1)])
    );
    let stats = limiter.stats();
    assert_eq!(
        (stats.allowed, stats.denied, stats.denied_near, stats.uncounted),
        (2, 2, 1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn generations_tell_what_was_read_and_what_was_lost() {
    let rig = Rig::new();
    let (cache, faults) = faulty();
    let config = GenerationsConfig::builder().listener(rig.metrics.listener());
    let generations = Generations::new(cache, config.build().unwrap());
    let acme = Keyspace::new("billing").unwrap().tenant("acme").unwrap();
    generations.current(&acme).await.unwrap();
    for _ in 0..5 {
        generations.current(&acme).await.unwrap();
    }
    generations.bump(&acme).await.unwrap();
    generations.existing(&acme).await.unwrap();
    faults.always(Operation::ALL, &Fault::connection_lost());
    generations.bump(&acme).await.unwrap_err();
    assert_eq!(
        counts(&rig, "cache.generations.reads"),
        expected([("cache", 2), ("memory", 5)])
    );
    assert_eq!(rig.values("cache.generations.bumps")[""], 1);
    assert_eq!(rig.values("cache.generations.beginnings")[""], 1);
    assert_eq!(
        counts(&rig, "cache.recipe.failures"),
        expected([("generations unavailable", 1)])
    );
}

#[tokio::test]
async fn batches_count_their_keys_and_calls_to_one_server_name_it() {
    use cache_layers::observed::{ObservedConfig, Tier};

    let rig = Rig::new();
    let config = ObservedConfig::builder()
        .tier(Tier::Far)
        .system("valkey")
        .server("cache.internal", 6380);
    let cache = rig.observe_as(config, MemoryCache::default());
    for keys in [&["a", "b", "c"][..], &["a"]] {
        cache.get_many(keys).await.unwrap();
    }
    cache.del(&["a", "b"]).await.unwrap();
    cache.get("a").await.unwrap_err();
    assert_eq!(
        counts(&rig, "cache.batch_keys"),
        expected([("far del", 2), ("far get_many", 4)])
    );
    let points = rig.points().into_iter();
    let named: Vec<_> = points
        .filter(|point| point.metric == "db.client.operation.duration")
        .collect();
    assert!(!named.is_empty());
    for point in named {
        assert_eq!(point.labels["server.address"], "cache.internal");
        assert_eq!(point.labels["server.port"], "6380");
    }
}
