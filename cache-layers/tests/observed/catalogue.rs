//! The catalogue, the page and what is emitted are one and the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheError, MemoryCache};
use cache_layers::generations::GenerationsEvent;
use cache_layers::idempotency::{Completion, IdempotencyEvent};
use cache_layers::lock::{LockEvent, Loss};
use cache_layers::metrics::catalog::{
    ATTRIBUTES, Attribute, BUCKETS, METRICS, markdown, markdown_of_attributes,
};
use cache_layers::observed::Tier;
use cache_layers::rate_limiter::RateLimiterEvent;
use cache_layers::read_through::{LoadOutcome, ReadThroughEvent};
use cache_layers::{
    Guarded, GuardedConfig, Listener, Loaded, NearConfig, ReadThrough, ReadThroughConfig, Tiered,
};

use crate::every_call::{call_everything, observed};
use crate::rig::{Point, Rig};

/// Lets happen whatever there is a metric for.
async fn emit_everything(rig: &Rig) -> Vec<Point> {
    for tier in [Tier::Edge, Tier::Far] {
        let (cache, faults) = observed(rig, tier);
        call_everything(&cache, &faults).await;
    }
    read_through(rig);
    recipes(rig);
    let guard = Arc::new(Guarded::new(
        Arc::new(MemoryCache::default()),
        GuardedConfig::default(),
    ));
    rig.metrics.watch_guard(&guard);
    let near = Arc::new(Tiered::new(guard, NearConfig::default()));
    rig.metrics.watch_near(&near);
    #[cfg(feature = "encryption")]
    let _watched = encryption(rig).await;
    rig.points()
}

/// A layer that encrypts, and its keyring. They are watched for as long as they are held.
#[cfg(feature = "encryption")]
async fn encryption(rig: &Rig) -> Arc<cache_layers::Encrypted> {
    use crate::store::{TestStore, key, keyset};
    use cache_layers::{Encrypted, EncryptedConfig, Keyring, KeyringConfig};

    let store = Arc::new(TestStore::new(keyset(7, &[key(7)])));
    let loaded = Keyring::load(store, None, KeyringConfig::default()).await;
    let keyring = loaded.expect("a good keyset");
    rig.metrics.watch_keyring(&keyring);
    let encrypted = Encrypted::new(
        Arc::new(MemoryCache::default()),
        keyring,
        EncryptedConfig::default(),
    );
    let encrypted = Arc::new(encrypted);
    rig.metrics.watch_encrypted(&encrypted);
    encrypted
}

/// Whether this build can emit a metric.
fn is_built(metric: &str) -> bool {
    let is_of_encryption = metric.starts_with("cache.encryption.") || metric.starts_with("cache.keyring.");
    cfg!(feature = "encryption") || !is_of_encryption
}

fn read_through(rig: &Rig) {
    let listener: Arc<dyn Listener<ReadThroughEvent>> = rig.metrics.listener();
    let took = Duration::from_millis(7);
    let refreshes = [false, true];
    let outcomes = [
        LoadOutcome::Value,
        LoadOutcome::Absent,
        LoadOutcome::Failed,
        LoadOutcome::Panicked,
        LoadOutcome::TimedOut,
        LoadOutcome::GivenUp,
    ];
    for refresh in refreshes {
        listener.on_event(&ReadThroughEvent::Hit { negative: refresh });
        listener.on_event(&ReadThroughEvent::LoadStarted { refresh });
        for outcome in outcomes {
            listener.on_event(&ReadThroughEvent::LoadEnded {
                refresh,
                outcome,
                took,
            });
        }
    }
    let error = CacheError::Closed;
    for event in [
        ReadThroughEvent::Stale,
        ReadThroughEvent::Missed,
        ReadThroughEvent::Joined,
        ReadThroughEvent::LeaseWait { took },
        ReadThroughEvent::WithoutLease,
        ReadThroughEvent::HeldBack,
        ReadThroughEvent::Superseded,
        ReadThroughEvent::Oversize { bytes: 7 },
        ReadThroughEvent::Unencodable {
            error: CacheError::Closed,
        },
        ReadThroughEvent::Undecodable {
            error: CacheError::Closed,
        },
        ReadThroughEvent::CacheFailed { error },
    ] {
        listener.on_event(&event);
    }
}

fn tell<E>(listener: &impl Listener<E>, events: impl IntoIterator<Item = E>) {
    events.into_iter().for_each(|event| listener.on_event(&event));
}

fn recipes(rig: &Rig) {
    let listener = &*rig.metrics.listener();
    let (waited, held, error) = (Duration::from_millis(7), Duration::from_secs(1), || {
        CacheError::Closed
    });
    tell(
        listener,
        [
            LockEvent::Acquired { waited },
            LockEvent::Taken { waited },
            LockEvent::Failed {
                error: error(),
                waited,
            },
            LockEvent::Released { held },
            LockEvent::Lost {
                loss: Loss::Expired,
                held,
            },
            LockEvent::Lost {
                loss: Loss::Gone,
                held,
            },
        ],
    );
    let ends = [Completion::Stored, Completion::NotKept, Completion::Overtaken];
    tell(
        listener,
        ends.map(|completion| IdempotencyEvent::Completed { completion }),
    );
    tell(
        listener,
        [
            IdempotencyEvent::Run,
            IdempotencyEvent::Unprotected { error: error() },
            IdempotencyEvent::InProgress,
            IdempotencyEvent::Replayed,
            IdempotencyEvent::NotReplayable,
            IdempotencyEvent::Mismatch,
            IdempotencyEvent::Failed { error: error() },
            IdempotencyEvent::Released,
            IdempotencyEvent::NotStored { error: error() },
        ],
    );
    tell(
        listener,
        [
            RateLimiterEvent::Allowed,
            RateLimiterEvent::Denied { from_memory: false },
            RateLimiterEvent::Denied { from_memory: true },
            RateLimiterEvent::Uncounted { error: error() },
        ],
    );
    tell(
        listener,
        [
            GenerationsEvent::Known,
            GenerationsEvent::Read,
            GenerationsEvent::Bumped,
            GenerationsEvent::Begun,
            GenerationsEvent::Failed { error: error() },
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_emitted_is_what_is_catalogued_and_nothing_else() {
    let points = emit_everything(&Rig::new()).await;
    let mut open: BTreeMap<&str, _> = METRICS.iter().map(|metric| (metric.name, metric)).collect();
    assert_eq!(open.len(), METRICS.len(), "no name is used twice");
    open.retain(|name, _| is_built(name));
    for point in &points {
        let metric = METRICS
            .iter()
            .find(|metric| metric.name == point.metric)
            .unwrap_or_else(|| panic!("not in the catalogue: {point:?}"));
        assert_eq!(metric.unit, point.unit, "{}", metric.name);
        assert_eq!(metric.instrument.name(), point.instrument, "{}", metric.name);
        let emitted: BTreeSet<&str> = point.labels.keys().map(String::as_str).collect();
        let failed = point
            .labels
            .get("cache.outcome")
            .is_none_or(|outcome| outcome == "error");
        let expected: BTreeSet<&str> = metric
            .attributes
            .iter()
            .map(|attribute| attribute.name)
            .filter(|name| *name != "error.type" || failed)
            .collect();
        assert_eq!(emitted, expected, "{}", metric.name);
        if point.instrument == "histogram" {
            assert_eq!(point.bounds, BUCKETS, "{}", metric.name);
        }
        open.remove(point.metric.as_str());
    }
    let silent: Vec<&&str> = open.keys().collect();
    assert!(silent.is_empty(), "catalogued and not emitted: {silent:?}");
}

#[tokio::test(start_paused = true)]
async fn a_label_has_none_but_the_values_that_are_listed() {
    let points = emit_everything(&Rig::new()).await;
    let attribute = |name: &str| -> &Attribute {
        ATTRIBUTES
            .iter()
            .find(|attribute| attribute.name == name)
            .unwrap_or_else(|| panic!("{name} is not listed"))
    };
    let mut seen = BTreeMap::<&str, BTreeSet<&str>>::new();
    for (name, value) in points.iter().flat_map(|point| &point.labels) {
        let values = attribute(name).values;
        assert!(
            values.is_empty() || values.contains(&value.as_str()),
            "{name} = {value}"
        );
        seen.entry(name).or_default().insert(value);
    }
    for attribute in ATTRIBUTES {
        if !is_built(attribute.name) {
            continue;
        }
        let seen = &seen[attribute.name];
        // Of errors there are more kinds than the doubles in use here can be made to have.
        if attribute.name != "error.type" && !attribute.values.is_empty() {
            assert_eq!(seen.len(), attribute.values.len(), "{}: {seen:?}", attribute.name);
        }
    }
}

#[test]
fn the_page_holds_the_tables_that_the_catalogue_makes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = std::fs::read_to_string(path).unwrap_or_default();
    for table in [markdown(), markdown_of_attributes()] {
        assert!(
            page.contains(&table),
            "docs/metrics.md should hold these lines:\n{table}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_through_tells_what_it_did() {
    let rig = Rig::new();
    let config = ReadThroughConfig::builder()
        .listener(rig.metrics.listener())
        .build()
        .unwrap();
    let loads = ReadThrough::new(Arc::new(MemoryCache::default()), config);
    for _ in 0..3 {
        loads
            .get_or_load("key", || async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                Ok::<_, std::io::Error>(Loaded::new("value"))
            })
            .await
            .unwrap();
    }
    loads.settled().await;
    let value = |metric: &str| rig.values(metric);
    assert_eq!(value("cache.read_through.loads")["load"], 1);
    assert_eq!(value("cache.read_through.answers")["hit"], 2);
    assert_eq!(
        value("cache.read_through.load.duration"),
        [("load value".to_owned(), 1)].into()
    );
    let points = rig.points();
    let duration = points
        .iter()
        .find(|point| point.instrument == "histogram")
        .unwrap();
    assert!((duration.seconds - 0.2).abs() < 0.01, "{duration:?}");
}

/// In real time: metrics are collected on a thread of their own, which no test can hold still.
#[cfg(feature = "encryption")]
#[tokio::test]
async fn age_of_the_keyset_grows_until_it_is_refreshed() {
    let rig = Rig::new();
    let encrypted = encryption(&rig).await;
    let keyring = encrypted.keyring();
    let age = || {
        let points = rig.points().into_iter();
        let age = points.filter(|point| point.metric == "cache.keyring.age");
        age.map(|point| point.seconds).next().unwrap()
    };
    let (before, measured, after) = (keyring.status().age, age(), keyring.status().age);
    assert!(
        (before.as_secs_f64()..=after.as_secs_f64()).contains(&measured),
        "{measured}"
    );
    let start = cache_core::clock::now();
    keyring.refresh().await.unwrap();
    assert!(age() <= start.elapsed().as_secs_f64());
    let refreshes = [("changed", 0), ("unchanged", 1), ("failed", 0)];
    let refreshes = refreshes.map(|(outcome, count)| (outcome.to_owned(), count));
    assert_eq!(rig.values("cache.keyring.refreshes"), refreshes.into());
}
