//! What the service makes of a cache that works, fails, hangs, or holds something else.

use cache_core::MemoryCache;
use cache_mock::{Fault, FaultyCache, Operation};

use super::*;

const NO_WAIT: Duration = Duration::ZERO;

fn tenants_over(cache: impl CacheClient) -> Tenants {
    Tenants::new(Arc::new(cache), Store::with_demo_tenants(NO_WAIT)).unwrap()
}

#[tokio::test]
async fn a_key_is_looked_up_once_and_never_stored_in_clear() {
    let cache = Arc::new(MemoryCache::default());
    let tenants = tenants_over(Arc::clone(&cache));
    let (first, source) = tenants.identify("demo-acme").await;
    assert_eq!(
        (first.unwrap().tenant.as_str(), source),
        ("acme", Source::Database)
    );
    assert_eq!(tenants.identify("demo-acme").await.1, Source::Cache);
    assert_eq!(tenants.database_reads(), 1);

    let page = cache.scan(&cache_core::Pattern::all(), 0, 100);
    assert_eq!(page.keys.len(), 1);
    assert!(!page.keys[0].contains("demo-acme"), "{:?}", page.keys);
    let value = cache.find_string(&page.keys[0]).await.unwrap().unwrap();
    assert!(!value.contains("demo-acme"), "{value}");
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_is_believed_for_a_minute_and_an_unknown_one_refused_for_seconds() {
    let tenants = tenants_over(MemoryCache::default());
    for (api_key, life) in [("demo-acme", 60), ("guess", 5)] {
        tenants.identify(api_key).await;
        tokio::time::advance(Duration::from_secs(life) - Duration::from_millis(1)).await;
        assert_eq!(tenants.identify(api_key).await.1, Source::Cache, "{api_key}");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(tenants.identify(api_key).await.1, Source::Database, "{api_key}");
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
    let (identity, source) = tenants.identify("demo-acme").await;
    assert_eq!(
        (identity.unwrap().tenant.as_str(), source),
        ("acme", Source::Bypass)
    );
    assert_eq!(begin.elapsed(), Duration::from_millis(250));
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
        ..before.unwrap()
    };
    tenants.update_settings("acme", new.clone()).await.unwrap();
    assert_eq!(
        tenants.settings("acme").await.unwrap(),
        (Some(new), Source::Bypass)
    );
}

#[tokio::test]
async fn what_another_version_left_behind_is_replaced() {
    let cache = Arc::new(MemoryCache::default());
    let tenants = tenants_over(Arc::clone(&cache));
    let key = tenants.keys().settings("acme").unwrap();
    cache.set_string(&key, "<settings/>", Ttl::Forever).await.unwrap();
    assert_eq!(tenants.settings("acme").await.unwrap().1, Source::Database);
    assert_eq!(tenants.settings("acme").await.unwrap().1, Source::Cache);
}
