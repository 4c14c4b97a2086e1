//! What a scrape gets: installed, measured, rendered, and read back as a scraper reads it.
//!
//! One test, since the provider that is installed is that of the process.

#![cfg(feature = "prometheus")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where its preparations fail"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cache_core::{CacheClient as _, MemoryCache, Ttl};
use cache_layers::metrics::catalog::{Instrument, METRICS};
use cache_layers::observed::Tier;
use cache_layers::{
    CacheMetrics, Guarded, GuardedConfig, Lock, LockConfig, NearConfig, Observed, ObservedConfig, Tiered,
};
use cache_stack::telemetry::Telemetry;

#[tokio::test]
async fn scrape_contains_all_metrics_in_valid_form() {
    let telemetry = Telemetry::builder()
        .service("a \"service\"")
        .prometheus()
        .install()
        .unwrap();
    let metrics = CacheMetrics::global();
    let guard = Arc::new(Guarded::new(
        Arc::new(MemoryCache::default()),
        GuardedConfig::default(),
    ));
    metrics.watch_guard(&guard);
    let far = ObservedConfig::builder().tier(Tier::Far).system("memory");
    let far = Arc::new(Observed::new(guard, far.build().unwrap()));
    let near = Arc::new(Tiered::new(far, NearConfig::default()));
    metrics.watch_near(&near);
    let cache = Observed::new(near, ObservedConfig::builder().build().unwrap());
    cache.set("key", "value".into(), Ttl::Forever).await.unwrap();
    for _ in 0..1_000 {
        cache.get("key").await.unwrap();
    }
    cache.get("other").await.unwrap_err();
    let config = LockConfig::builder()
        .listener(metrics.listener())
        .build()
        .unwrap();
    let held = Lock::new(Arc::new(MemoryCache::default()), config)
        .try_acquire("lock")
        .await;
    assert!(held.unwrap().unwrap().release().await.unwrap());

    let text = telemetry.scrape().unwrap();
    let scrape = Scrape::read(&text);
    let value = |series: &str| {
        *scrape
            .samples
            .get(series)
            .unwrap_or_else(|| panic!("no {series} in\n{text}"))
    };
    assert_eq!(
        value(r#"cache_operations_total{cache_outcome="hit",cache_tier="edge",db_operation_name="get"}"#),
        1_000.0
    );
    // The value, and that the other key does not exist.
    assert_eq!(value("cache_near_entries"), 2.0);
    assert_eq!(value(r#"cache_guard_state{cache_guard_state="closed"}"#), 1.0);
    assert!(
        text.contains(r#"target_info{service_name="a \"service\"","#),
        "{text}"
    );
    // The far tier was asked once, by a read of an entry, and all of its calls were timed.
    let far =
        r#"cache_outcome="hit",cache_tier="far",db_operation_name="get_entries",db_system_name="memory""#;
    let name = "db_client_operation_duration_seconds";
    assert_eq!(value(&format!("{name}_count{{{far}}}")), 1.0);
    assert_eq!(value(&format!("{name}_bucket{{{far},le=\"5\"}}")), 1.0);
    scrape.check_histograms();
    for metric in METRICS {
        let (kind, end) = match metric.instrument {
            Instrument::Counter => ("counter", "_total"),
            Instrument::Histogram => ("histogram", "_seconds"),
            _ if metric.unit == "By" => ("gauge", "_bytes"),
            Instrument::Gauge => ("gauge", "_seconds"),
            _ => ("gauge", ""),
        };
        let name = format!("{}{end}", metric.name.replace('.', "_"));
        match scrape.types.get(&name) {
            Some(found) => assert_eq!(found, kind, "{name}"),
            // What a read-through times is not there before it did so, nor are keys and recipes that failed by
            // themselves, and this stack does not encrypt.
            None => {
                let absent = [
                    "read_through",
                    "failed_keys",
                    "cache.recipe.failures",
                    "cache.encryption.",
                    "cache.keyring.",
                ];
                assert!(
                    absent.iter().any(|part| metric.name.contains(part)),
                    "no {name} in\n{text}"
                );
            }
        }
    }
    telemetry.shutdown().unwrap();
}

/// A scrape in the text format, version 0.0.4, read strictly.
struct Scrape {
    types: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    fn read(text: &str) -> Self {
        let mut scrape = Self {
            types: BTreeMap::new(),
            samples: BTreeMap::new(),
        };
        let mut family = String::new();
        let mut helped = BTreeSet::new();
        assert!(text.ends_with('\n'), "the last line ends");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a name and a text");
                assert!(!help.is_empty() && helped.insert(name.to_owned()), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                let earlier = scrape.types.insert(name.to_owned(), kind.to_owned());
                assert!(earlier.is_none(), "two families are called {name}");
                name.clone_into(&mut family);
            } else {
                let (series, value) = line.rsplit_once(' ').expect("a series and a value");
                let name = series.split('{').next().unwrap();
                assert!(is_name(name), "{line}");
                let end = name
                    .strip_prefix(&family)
                    .unwrap_or_else(|| panic!("{line} outside of its family"));
                let ends: &[&str] = match scrape.types[&family].as_str() {
                    "histogram" => &["_bucket", "_sum", "_count"],
                    _ => &[""],
                };
                assert!(ends.contains(&end), "{line}");
                check_labels(series);
                let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
                let earlier = scrape.samples.insert(series.to_owned(), value);
                assert!(earlier.is_none(), "twice: {series}");
            }
        }
        scrape
    }

    /// Buckets only grow, and the last one has all.
    fn check_histograms(&self) {
        let mut seen = 0;
        for (count_series, count) in &self.samples {
            let Some((name, labels)) = count_series.split_once("_count") else {
                continue;
            };
            let labels = labels.trim_start_matches('{').trim_end_matches('}');
            let separator = if labels.is_empty() { "" } else { "," };
            let start = format!("{name}_bucket{{{labels}{separator}le=\"");
            let mut buckets: Vec<(f64, f64)> = self
                .samples
                .iter()
                .filter_map(|(series, value)| {
                    let bound = series.strip_prefix(&start)?.strip_suffix("\"}")?;
                    Some((bound.parse().unwrap(), *value))
                })
                .collect();
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(
                buckets.is_sorted_by(|a, b| a.1 <= b.1),
                "{count_series}: {buckets:?}"
            );
            assert_eq!(buckets.first().unwrap().0, 0.000_05);
            assert_eq!(buckets.last().unwrap(), &(f64::INFINITY, *count));
            seen += 1;
        }
        assert!(seen > 1, "no histogram was looked at");
    }
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
        && !name.is_empty()
}

/// `name="value"` separated by commas, in which quotes, backslashes and line ends are escaped.
fn check_labels(series: &str) {
    let Some((_, labels)) = series.split_once('{') else {
        return;
    };
    let mut rest = labels.strip_suffix('}').expect("a closing brace");
    let mut names = BTreeSet::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").expect("a name and a value");
        assert!(
            is_name(name) && !name.contains(':') && names.insert(name),
            "{series}"
        );
        let mut escaped = false;
        let end = after
            .find(|c| {
                let ends = c == '"' && !escaped;
                assert!(!escaped || matches!(c, '"' | '\\' | 'n'), "{series}");
                escaped = c == '\\' && !escaped;
                ends
            })
            .expect("a closing quote");
        rest = after[end + 1..].trim_start_matches(',');
    }
}
