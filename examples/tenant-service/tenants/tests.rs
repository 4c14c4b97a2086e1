//! What the service makes of a cache that works, fails, hangs, or holds something else.

use cache_core::MemoryCache;
use cache_mock::{Fault, FaultyCache, Operation};

use super::*;

const NO_WAIT: Duration = Duration::ZERO;

/// A time of day that passes as the test's own time does.
#[derive(Debug)]
struct TestClock(cache_core::clock::Instant);

impl WallClock for TestClock {
    fn since_epoch(&self) -> Duration {
        Duration::from_secs(1_700_000_000) + self.0.elapsed()
    }
}

fn tenants_over(cache: impl CacheClient) -> Tenants {
    let clock: Arc<dyn WallClock> = Arc::new(TestClock(cache_core::clock::now()));
    Tenants::new(Arc::new(cache), Store::with_demo_tenants(NO_WAIT), &clock).unwrap()
}

#[tokio::test]
async fn a_key_is_looked_up_once_and_never_stored_in_clear() {
    let cache = Arc::new(MemoryCache::default());
    let tenants = tenants_over(Arc::clone(&cache));
    let (first, source) = tenants.identify("demo-acme").await.unwrap();
    assert_eq!(
        (first.unwrap().tenant.as_str(), source),
        ("acme", Source::Database)
    );
    assert_eq!(tenants.identify("demo-acme").await.unwrap().1, Source::Cache);
    assert_eq!(tenants.database_reads(), 1);

    let page = cache.scan(&cache_core::Pattern::all(), 0, 100);
    assert_eq!(page.keys.len(), 1);
    assert!(!page.keys[0].contains("demo-acme"), "{:?}", page.keys);
    let value = cache.get(&page.keys[0]).await.unwrap();
    assert!(!String::from_utf8_lossy(&value).contains("demo-acme"));
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_is_believed_for_a_minute_and_an_unknown_one_refused_for_seconds() {
    let tenants = tenants_over(MemoryCache::default());
    for (api_key, life) in [("demo-acme", 60), ("guess", 5)] {
        let source = async || tenants.identify(api_key).await.unwrap().1;
        source().await;
        tokio::time::advance(Duration::from_secs(life) - Duration::from_millis(1)).await;
        assert_eq!(source().await, Source::Cache, "{api_key}");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(source().await, Source::Database, "{api_key}");
    }
}

#[tokio::test(start_paused = true)]
async fn usage_starts_anew_when_its_window_ends() {
    let tenants = tenants_over(MemoryCache::default());
    tenants.count("acme").await.unwrap();
    tokio::time::advance(USAGE_WINDOW - Duration::from_secs(1)).await;
    tenants.count("acme").await.unwrap();
    assert_eq!(tenants.usage("acme").await.unwrap(), 2);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(tenants.usage("acme").await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_hangs_costs_its_budget_and_no_answer() {
    let cache = FaultyCache::new(MemoryCache::default());
    cache.faults().always(Operation::ALL, &Fault::Hang);
    let tenants = tenants_over(cache);
    let begin = cache_core::clock::now();
    let (identity, source) = tenants.identify("demo-acme").await.unwrap();
    assert_eq!(
        (identity.unwrap().tenant.as_str(), source),
        ("acme", Source::Database)
    );
    assert_eq!(begin.elapsed(), BUDGET);
    tenants.count("acme").await.unwrap();
    assert!(tenants.usage("acme").await.unwrap_err().is_transient());
}

#[tokio::test]
async fn an_update_holds_although_the_cache_cannot_be_told() {
    let cache = FaultyCache::new(MemoryCache::default());
    let faults = cache.faults().clone();
    let tenants = tenants_over(cache);
    let (before, _) = tenants.settings("acme").await.unwrap();
    faults.always(Operation::ALL, &Fault::connection_lost());
    let new = Settings {
        seats: 6,
        ..Settings::clone(&before.unwrap())
    };
    tenants.update_settings("acme", new.clone()).await.unwrap();
    assert_eq!(
        tenants.settings("acme").await.unwrap(),
        (Some(Arc::new(new)), Source::Database)
    );
}

#[tokio::test]
async fn what_another_version_left_behind_is_replaced() {
    let cache = Arc::new(MemoryCache::default());
    let tenants = tenants_over(Arc::clone(&cache));
    let key = tenants.keys().identity(&KeyDigest::of("demo-acme"));
    cache.set_string(&key, "<identity/>", Ttl::Forever).await.unwrap();
    assert_eq!(tenants.identify("demo-acme").await.unwrap().1, Source::Database);
    assert_eq!(tenants.identify("demo-acme").await.unwrap().1, Source::Cache);
}

#[tokio::test]
async fn a_flush_puts_the_tenants_settings_out_of_reach_and_no_other_s() {
    let tenants = tenants_over(MemoryCache::default());
    let source = async |tenant| tenants.settings(tenant).await.unwrap().1;
    for tenant in ["acme", "globex"] {
        assert_eq!(source(tenant).await, Source::Database);
        assert_eq!(source(tenant).await, Source::Cache);
    }
    tenants.flush("acme").await.unwrap();
    assert_eq!(source("acme").await, Source::Database);
    assert_eq!(source("globex").await, Source::Cache);
}

#[tokio::test(start_paused = true)]
async fn settings_are_loaded_anew_before_their_life_is_over_and_nobody_waits() {
    let tenants = tenants_over(MemoryCache::default());
    tenants.settings("acme").await.unwrap();
    let reads = tenants.database_reads();
    tokio::time::advance(SETTINGS_LIFE.mul_f64(0.85)).await;
    assert_eq!(tenants.settings("acme").await.unwrap().1, Source::Cache);
    while tenants.database_reads() == reads {
        tokio::task::yield_now().await;
    }
    tokio::time::advance(SETTINGS_LIFE.mul_f64(0.5)).await;
    assert_eq!(tenants.settings("acme").await.unwrap().1, Source::Cache);
}

#[tokio::test]
async fn a_hundred_callers_at_once_ask_the_database_once() {
    let tenants = Arc::new(tenants_over(MemoryCache::default()));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let tenants = Arc::clone(&tenants);
        callers.spawn(async move { tenants.identify("demo-acme").await.unwrap() });
    }
    callers.join_all().await;
    assert_eq!(tenants.database_reads(), 1);
}
