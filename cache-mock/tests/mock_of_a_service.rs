//! How a caller uses its cache, checked with expectations.

#[cfg(test)]
mod service;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cache_core::{CacheClient, CacheError, Outcome, Ttl, Unavailability};
use cache_mock::MockCacheClient;

use service::{Database, KEPT, count_use, forget, plan};

fn lost(outcome: Outcome) -> CacheError {
    CacheError::Unavailable {
        reason: Unavailability::Lost,
        detail: "gone".into(),
        outcome,
        source: None,
    }
}

#[tokio::test]
async fn hit_is_served_without_the_database() {
    let database = Database::default();
    let mut cache = MockCacheClient::new();
    cache.expect_hit("plan:acme", "team");
    assert_eq!(plan(&cache, &database, "acme").await, "team");
    assert_eq!(database.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn miss_is_loaded_and_stored_for_the_next_caller() {
    let database = Database::default();
    let mut cache = MockCacheClient::new();
    cache.expect_miss("plan:acme");
    cache.expect_set_of("plan:acme", "plan of acme", KEPT);
    cache.expect_hit("plan:acme", "plan of acme");
    assert_eq!(plan(&cache, &database, "acme").await, "plan of acme");
    assert_eq!(plan(&cache, &database, "acme").await, "plan of acme");
    assert_eq!(database.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn failing_cache_costs_a_load_and_no_error() {
    let database = Database::default();
    let mut cache = MockCacheClient::new();
    cache.expect_failing_get("plan:acme", lost(Outcome::NotApplied));
    cache.expect_failing_set("plan:acme", "plan of acme", KEPT, lost(Outcome::Unknown));
    assert_eq!(plan(&cache, &database, "acme").await, "plan of acme");
}

#[tokio::test]
async fn service_survives_a_cache_outage() {
    let database = Database::default();
    let cache: Arc<dyn CacheClient> = Arc::new(MockCacheClient::failing(&lost(Outcome::NotApplied)));
    assert_eq!(plan(&*cache, &database, "acme").await, "plan of acme");
    assert!(count_use(&*cache, "acme").await.is_err());
    assert!(forget(&*cache, &["acme"]).await.is_err());
    assert!(
        cache.ping().await.is_err() && cache.get_many(&["a"]).await.is_err() && cache.close().await.is_err()
    );
}

#[tokio::test]
async fn use_whose_outcome_is_unknown_is_not_counted_again() {
    let mut cache = MockCacheClient::new();
    // The mock would panic at a second call.
    cache
        .expect_incr()
        .times(1)
        .returning(|_| Err(lost(Outcome::Unknown)));
    assert!(count_use(&cache, "acme").await.is_err());

    let mut cache = MockCacheClient::new();
    cache
        .expect_incr()
        .times(1)
        .returning(|_| Err(lost(Outcome::NotApplied)));
    cache.expect_incr_to("uses:acme", 7);
    assert_eq!(count_use(&cache, "acme").await.unwrap(), 7);
}

#[tokio::test]
async fn many_keys_are_deleted_in_one_call() {
    let mut cache = MockCacheClient::new();
    cache.expect_del_of(["plan:acme", "plan:umbrella"], 1);
    forget(&cache, &["acme", "umbrella"]).await.unwrap();
}

#[tokio::test]
async fn short_expectation_returns_its_answer() {
    let mut cache = MockCacheClient::new();
    cache.expect_entry("a", "1", Ttl::secs(5));
    cache.expect_get_many_of([("a", Some("1")), ("b", None)]);
    cache.expect_set_many_of([("a", "1"), ("b", "2")], KEPT);
    cache.expect_set_if_absent_of("a", "2", KEPT, false);
    cache.expect_incr_by_to("count", 5, KEPT, 12);
    cache.expect_expire_of("a", Ttl::Forever, true);
    assert_eq!(cache.get_entry("a").await.unwrap().remaining, Ttl::secs(5));
    assert_eq!(
        cache.get_many(&["a", "b"]).await.unwrap(),
        [Some("1".into()), None]
    );
    cache
        .set_many(&[("a", "1".into()), ("b", "2".into())], KEPT)
        .await
        .unwrap();
    assert!(!cache.set_if_absent("a", "2".into(), KEPT).await.unwrap());
    assert_eq!(cache.incr_by("count", 5, KEPT).await.unwrap(), 12);
    assert!(cache.expire("a", Ttl::Forever).await.unwrap());
}

/// The panic message of a test with a wrong expectation.
fn failure(test: impl AsyncFnOnce(MockCacheClient)) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let run = || runtime.map(|runtime| runtime.block_on(test(MockCacheClient::new())));
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(_) => "no failure".to_owned(),
        Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
    }
}

#[test]
fn call_with_another_argument_fails_the_test() {
    let wrong_key = failure(async |mut cache| {
        cache.expect_hit("plan:acme", "team");
        let _ = cache.get("plan:umbrella").await;
    });
    assert!(
        wrong_key.contains("No matching expectation") && wrong_key.contains("plan:umbrella"),
        "{wrong_key}"
    );
}

#[test]
fn call_too_many_and_a_call_too_few_fail_the_test() {
    let again = failure(async |mut cache| {
        cache.expect_miss("plan:acme");
        let _ = cache.get("plan:acme").await;
        let _ = cache.get("plan:acme").await;
    });
    assert!(again.contains("called 2 time"), "{again}");
    let never = failure(async |mut cache| cache.expect_del_of(["plan:acme"], 1));
    assert!(never.contains("called 0 time"), "{never}");
}

#[test]
fn short_expectation_checks_every_argument() {
    macro_rules! mind {
        ($($expect:ident($($expected:expr),*) not $method:ident($($given:expr),*);)+) => {$(
            let failed = failure(async |mut cache| {
                cache.$expect($($expected),*);
                let _ = cache.$method($($given),*).await;
            });
            let wrong = stringify!($method($($given),*));
            assert!(failed.contains("No matching expectation"), "{wrong}: {failed}");
        )+};
    }
    mind! {
        expect_miss("a") not get("b");
        expect_failing_get("a", CacheError::Closed) not get("b");
        expect_entry("a", "1", KEPT) not get_entry("b");
        expect_get_many_of([("a", Some("1")), ("b", None)]) not get_many(&["b", "a"]);
        expect_set_of("a", "1", KEPT) not set("b", "1".into(), KEPT);
        expect_set_of("a", "1", KEPT) not set("a", "2".into(), KEPT);
        expect_set_many_of([("a", "1")], KEPT) not set_many(&[("a", "1".into())], Ttl::Forever);
        expect_set_many_of([("a", "1")], KEPT) not set_many(&[("a", "2".into())], KEPT);
        expect_set_many_of([("a", "1")], KEPT) not set_many(&[("a", "1".into()), ("b", "1".into())], KEPT);
        expect_set_if_absent_of("a", "1", KEPT, true) not set_if_absent("b", "1".into(), KEPT);
        expect_set_if_absent_of("a", "1", KEPT, true) not set_if_absent("a", "2".into(), KEPT);
        expect_set_if_absent_of("a", "1", KEPT, true) not set_if_absent("a", "1".into(), Ttl::Forever);
        expect_del_of(["a", "b"], 2) not del(&["a"]);
        expect_incr_to("a", 1) not incr("b");
        expect_incr_by_to("a", 1, KEPT, 1) not incr_by("b", 1, KEPT);
        expect_incr_by_to("a", 1, KEPT, 1) not incr_by("a", 2, KEPT);
        expect_incr_by_to("a", 1, KEPT, 1) not incr_by("a", 1, Ttl::Forever);
        expect_expire_of("a", KEPT, true) not expire("b", KEPT);
        expect_expire_of("a", KEPT, true) not expire("a", Ttl::Forever);
    }
}

#[tokio::test]
async fn each_key_gets_its_expected_result() {
    let mut cache = MockCacheClient::new();
    let ttl = Ttl::secs(60);
    cache.expect_set_each_of([
        ("a", "1", ttl, Ok(())),
        ("b", "2", Ttl::Forever, Err(lost(Outcome::Unknown))),
    ]);
    cache.expect_get_each_of([("a", Ok("1")), ("b", Err(CacheError::Miss))]);
    cache.expect_get_and_expire_of("a", ttl, Ok("1".into()));
    cache.expect_get_and_delete_of("a", Ok("1".into()));
    let stored = cache
        .set_each(&[("a", "1".into(), ttl), ("b", "2".into(), Ttl::Forever)])
        .await;
    assert!(stored[0].is_ok() && stored[1].as_ref().is_err_and(CacheError::is_transient));
    let read = cache.get_each(&["a", "b"]).await;
    assert!(read[0].is_ok() && read[1].as_ref().is_err_and(CacheError::is_miss));
    assert_eq!(cache.get_and_expire("a", ttl).await.unwrap(), "1");
    assert_eq!(cache.get_and_delete("a").await.unwrap(), "1");

    let down = MockCacheClient::failing(&lost(Outcome::NotApplied));
    assert!(down.get_each(&["a", "b"]).await.iter().all(Result::is_err));
    assert_eq!(down.set_each(&[("a", "1".into(), ttl)]).await.len(), 1);
    assert!(down.get_and_delete("a").await.is_err() && down.get_and_expire("a", ttl).await.is_err());
}
