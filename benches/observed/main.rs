//! What it costs to observe a call: `cargo bench -p benches --bench observed [-- --quick]`.
//!
//! Hits of the embedded client through `Arc<dyn CacheClient>`, bare and observed, with the SDK's meter
//! provider behind the instruments; from 1, 2 and 4 tasks. Beside them a record of the SDK's histogram with
//! labels made beforehand, which is what a duration costs: the reason why the edge measures a sample.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use benches::{Goal, Options, Sample, Table, run};
use cache_core::{CacheClient, MemoryCache, Ttl};
use cache_layers::observed::{Tier, Timing};
use cache_layers::{CacheMetrics, Observed, ObservedConfig};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, MeterProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};

const TASKS: [usize; 3] = [1, 2, 4];

/// Calls inside one measured step, so that reading the clock does not count for much.
const BATCH: usize = 200;

#[tokio::main]
async fn main() -> Result<()> {
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return Ok(());
    }
    let options = Options::from_arguments();
    let reader = PeriodicReader::builder(Nowhere)
        .with_interval(Duration::from_secs(1))
        .build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let meter = provider.meter("benches");
    let metrics = CacheMetrics::new(&meter);
    let observed = |client: Arc<dyn CacheClient>, tier, timing| -> Result<Arc<dyn CacheClient>> {
        let config = ObservedConfig::builder()
            .tier(tier)
            .timing(timing)
            .metrics(metrics.clone());
        Ok(Arc::new(Observed::new(client, config.build()?)))
    };
    let bare: Arc<dyn CacheClient> = Arc::new(MemoryCache::default());
    bare.set("key", "value".into(), Ttl::Forever).await?;
    let edge = observed(Arc::clone(&bare), Tier::Edge, Timing::OneIn(16))?;
    let far = observed(Arc::clone(&bare), Tier::Far, Timing::Every)?;
    let config = ObservedConfig::builder().build()?;
    let without: Arc<dyn CacheClient> = Arc::new(Observed::new(Arc::clone(&bare), config));
    let histogram = meter.f64_histogram("duration").build();

    let names = [
        "bare",
        "observed, no SDK",
        "observed, edge",
        "observed, far",
        "a histogram's record alone",
    ];
    let mut table = Table::new(&format!("hits; steps of {BATCH} calls, tasks:"), &TASKS, &names);
    for _ in 0..options.rounds {
        for (column, &tasks) in TASKS.iter().enumerate() {
            for (row, client) in [&bare, &without, &edge, &far].into_iter().enumerate() {
                table.add(row, column, hits(client, tasks, options).await);
            }
            table.add(4, column, records(&histogram, tasks, options).await);
        }
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{table}")?;
    for (column, tasks) in TASKS.iter().enumerate() {
        for (row, bound) in [(2, 150.0), (3, 1_000.0)] {
            let goal = Goal {
                what: format!(
                    "{}, {tasks} tasks: nanoseconds of a core on top of a hit",
                    names[row]
                ),
                measured: (table.cpu(row, column) - table.cpu(0, column)) * 1_000.0 / per_step(),
                bound,
                at_least: false,
            };
            writeln!(out, "{goal}")?;
        }
    }
    Ok(())
}

fn per_step() -> f64 {
    f64::from(u16::try_from(BATCH).unwrap_or(u16::MAX))
}

async fn hits(client: &Arc<dyn CacheClient>, tasks: usize, options: Options) -> Sample {
    let client = Arc::clone(client);
    run(tasks, options.slice, move |_, _| {
        let client = Arc::clone(&client);
        async move {
            for _ in 0..BATCH {
                assert!(client.get("key").await.is_ok());
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

async fn records(histogram: &Histogram<f64>, tasks: usize, options: Options) -> Sample {
    let histogram = histogram.clone();
    let labels: Arc<[KeyValue]> = [
        ("cache.tier", "edge"),
        ("db.operation.name", "get"),
        ("cache.outcome", "hit"),
    ]
    .map(|(name, value)| KeyValue::new(name, value))
    .into();
    run(tasks, options.slice, move |_, _| {
        let (histogram, labels) = (histogram.clone(), Arc::clone(&labels));
        async move {
            (0..BATCH).for_each(|_| histogram.record(0.000_001, &labels));
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Takes what is collected and drops it.
struct Nowhere;

impl PushMetricExporter for Nowhere {
    async fn export(&self, _: &ResourceMetrics) -> OTelSdkResult {
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}
