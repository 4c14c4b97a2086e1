//! Keys under a prefix: what goes down, what comes up, and what is refused.

#![expect(clippy::unwrap_used, reason = "a test ends where its preparations fail")]

use std::sync::{Arc, Mutex};

use cache_core::conformance::Subject;
use cache_core::{
    CacheClient, CacheError, Invalidation, InvalidationListener, InvalidationSource, MAX_KEY_LEN,
    MemoryCache, Subscription, TrackingStatus, Ttl,
};
use cache_layers::Prefixed;
use cache_mock::MockCacheClient;

const PREFIX: &str = "tenant:é:";

fn prefixed() -> (Prefixed, Arc<MemoryCache>) {
    let memory = Arc::new(MemoryCache::default());
    (Prefixed::new(memory.clone(), PREFIX).unwrap(), memory)
}

cache_core::conformance_tests! {
    mod over_memory in virtual time = async {
        let (cache, _) = prefixed();
        let longest = cache.longest_key();
        Subject::new(cache).with_longest_key(longest).with_drops(10_000)
    };
    mod over_a_prefix in virtual time = async {
        let (cache, _) = prefixed();
        let twice = Prefixed::new(Arc::new(cache), "inner:").unwrap();
        let longest = MAX_KEY_LEN - PREFIX.len() - "inner:".len();
        Subject::new(twice).with_longest_key(longest).with_drops(10_000)
    };
}

/// Each method changes or reads the prefixed key, and no other.
#[tokio::test]
async fn every_method_works_under_the_prefix_only() {
    let (cache, memory) = prefixed();
    let full = |key: &str| format!("{PREFIX}{key}");
    let ttl = Ttl::secs(600);
    // The same keys without the prefix, as a trap.
    for key in ["a", "b", "n"] {
        memory.set(key, "100".into(), Ttl::Forever).await.unwrap();
    }
    cache.set("a", "1".into(), ttl).await.unwrap();
    assert_eq!(memory.get(&full("a")).await.unwrap(), "1");
    cache
        .set_many(&[("b", "2".into()), ("cc", "3".into())], ttl)
        .await
        .unwrap();
    assert_eq!(memory.get(&full("b")).await.unwrap(), "2");
    assert_eq!(memory.get(&full("cc")).await.unwrap(), "3");
    assert_eq!(cache.get("cc").await.unwrap(), "3");
    assert_eq!(cache.get_entry("b").await.unwrap().value, "2");
    let many = cache.get_many(&["cc", "none", "a", "cc"]).await.unwrap();
    let many: Vec<_> = many.iter().map(|value| value.as_deref()).collect();
    assert_eq!(many, [Some(&b"3"[..]), None, Some(b"1"), Some(b"3")]);
    assert_eq!(cache.exists(&["a", "n", "b", "a"]).await.unwrap(), 3);
    assert!(cache.set_if_absent("n", "5".into(), Ttl::Forever).await.unwrap());
    assert_eq!(cache.incr("n").await.unwrap(), 6);
    assert_eq!(cache.incr_by("n", -2, ttl).await.unwrap(), 4);
    assert_eq!(memory.get(&full("n")).await.unwrap(), "4");
    assert!(!memory.ttl(&full("n")).await.unwrap().is_forever());
    assert!(cache.expire("n", Ttl::Forever).await.unwrap());
    assert!(cache.ttl("n").await.unwrap().is_forever());
    assert!(cache.compare_and_set("n", b"4", "7".into(), ttl).await.unwrap());
    assert_eq!(memory.get(&full("n")).await.unwrap(), "7");
    assert!(cache.compare_and_delete("n", b"7").await.unwrap());
    assert_eq!(cache.del(&["a", "b", "cc", "n"]).await.unwrap(), 3);
    assert_eq!(
        memory
            .exists(&[&full("a"), &full("b"), &full("cc")])
            .await
            .unwrap(),
        0
    );
    for key in ["a", "b", "n"] {
        assert_eq!(memory.get(key).await.unwrap(), "100", "{key} without the prefix");
    }
    cache.ping().await.unwrap();
    cache.close().await.unwrap();
    assert!(matches!(memory.ping().await, Err(CacheError::Closed)));
}

#[tokio::test]
async fn a_key_that_does_not_fit_is_refused_with_what_would() {
    // The client inside is not asked: a mock without expectations panics where it is.
    let cache = Prefixed::new(Arc::new(MockCacheClient::new()), "app:").unwrap();
    let error = cache.get(&"k".repeat(MAX_KEY_LEN - 3)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid key: 65533 bytes long; under this prefix of 4 bytes a key has at most 65532"
    );
    let error = cache.del(&["good", ""]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid key: empty; a key has at least one byte"
    );
}

#[test]
fn a_prefix_that_cannot_be_is_refused() {
    let memory = || Arc::new(MemoryCache::default());
    let long = "p".repeat(1_025);
    for prefix in ["", "{tag}", "open{", "}", "line\n", &long] {
        let error = Prefixed::new(memory(), prefix).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid prefix: takes 1 to 1024 bytes of text without braces and control characters"
        );
    }
    let cache = Prefixed::new(memory(), &long[1..]).unwrap();
    assert_eq!(cache.prefix().len(), 1_024);
    assert_eq!(cache.longest_key(), MAX_KEY_LEN - 1_024);
    assert!(format!("{:?}", cache.inner()).contains("MemoryCache"));
}

/// A source that says what it is told to.
#[derive(Clone, Default)]
struct Source(Arc<Mutex<Vec<Arc<dyn InvalidationListener>>>>);

impl Source {
    fn say(&self, event: &Invalidation) {
        for listener in self.0.lock().unwrap().iter() {
            listener.on_invalidation(event);
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Source")
    }
}

impl InvalidationSource for Source {
    fn subscribe(&self, listener: Arc<dyn InvalidationListener>) -> Subscription {
        self.0.lock().unwrap().push(listener);
        let listeners = Arc::clone(&self.0);
        Subscription::new(move || listeners.lock().unwrap().clear())
    }

    fn status(&self) -> TrackingStatus {
        TrackingStatus::Interrupted
    }
}

fn heard_from(source: Option<Source>) -> Option<Arc<dyn InvalidationSource>> {
    let mut client = MockCacheClient::new();
    client
        .expect_invalidations()
        .return_once(move || source.map(|source| Arc::new(source) as _));
    Prefixed::new(Arc::new(client), PREFIX).unwrap().invalidations()
}

#[test]
fn changes_are_heard_by_the_callers_keys() {
    let source = Source::default();
    let translated = heard_from(Some(source.clone())).expect("a source");
    assert_eq!(translated.status(), TrackingStatus::Interrupted);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&heard);
    let subscription = translated.subscribe(Arc::new(move |event: &Invalidation| {
        list.lock().unwrap().push(event.clone());
    }));
    let keys = |keys: &[&str]| Invalidation::Keys(keys.iter().map(|&key| key.to_owned()).collect());
    let under = |key: &str| format!("{PREFIX}{key}");

    source.say(&keys(&[&under("a"), "a", "tenant:e:b", &under(&under("c"))]));
    // Nothing in these is a key of ours: the prefix alone is none.
    source.say(&keys(&["a", "tenant:", PREFIX]));
    source.say(&keys(&[]));
    source.say(&Invalidation::Everything);
    source.say(&Invalidation::ConnectionLost);
    let expected = [
        keys(&["a", &under("c")]),
        Invalidation::Everything,
        Invalidation::ConnectionLost,
    ];
    assert_eq!(*heard.lock().unwrap(), expected);

    drop(subscription);
    source.say(&Invalidation::Everything);
    assert_eq!(heard.lock().unwrap().len(), 3);
}

#[test]
fn a_client_that_reports_nothing_still_reports_nothing() {
    assert!(heard_from(None).is_none());
}

#[tokio::test]
async fn a_change_by_another_is_heard_through_a_real_client() {
    let (cache, memory) = prefixed();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&heard);
    let source = cache
        .invalidations()
        .expect("the embedded client reports changes");
    let _subscription = source.subscribe(Arc::new(move |event: &Invalidation| {
        list.lock().unwrap().push(event.clone());
    }));
    cache.set("a", "1".into(), Ttl::Forever).await.unwrap();
    heard.lock().unwrap().clear();
    memory.del(&[&format!("{PREFIX}a")]).await.unwrap();
    memory.set("a", "1".into(), Ttl::Forever).await.unwrap();
    assert_eq!(*heard.lock().unwrap(), [Invalidation::Keys(vec!["a".to_owned()])]);
}
