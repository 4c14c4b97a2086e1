//! Counts the cost of a client's requests: read and write units, and throttling.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::types::ConsumedCapacity;
use opentelemetry::metrics::{Counter, Meter};
use opentelemetry::{InstrumentationScope, KeyValue, global};

/// The cost of a client's requests since it was created.
///
/// A read unit is a strongly consistent read of up to 4 KB, or two eventually consistent ones; a write unit
/// is a write of up to 1 KB. Refused conditional writes cost as much as others. Costs that DynamoDB does not
/// report (requests without a response, refused conditional writes) are missing here, but billed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct DynamoDbStats {
    /// Requests sent, each attempt counted separately.
    pub requests: u64,
    /// Read units.
    pub read_units: f64,
    /// Write units.
    pub write_units: f64,
    /// Requests that DynamoDB refused because there were too many.
    pub throttled: u64,
    /// Keys that a batch left unprocessed, each time.
    pub unprocessed: u64,
    /// By how many milliseconds the machine's clock is being corrected; 0 if it agrees with DynamoDB's.
    pub clock_offset_ms: i64,
}

/// Counts for one client, and for the process's metrics.
pub(super) struct Cost {
    requests: AtomicU64,
    /// In thousandths: DynamoDB counts in halves.
    read: AtomicU64,
    write: AtomicU64,
    throttled: AtomicU64,
    unprocessed: AtomicU64,
    instruments: &'static Instruments,
    table: [KeyValue; 1],
}

/// The instruments of the process.
struct Instruments {
    read: Counter<f64>,
    write: Counter<f64>,
    throttled: Counter<u64>,
    unprocessed: Counter<u64>,
}

/// A metric: its name, unit and description. All are counters with the attribute `db.collection.name`, the
/// table.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// The unit, in the notation of UCUM.
    pub unit: &'static str,
    /// Its description.
    pub meaning: &'static str,
}

/// Every metric of the DynamoDB client; `docs/metrics.md` has the same list.
pub const METRICS: [Metric; 4] = [READ, WRITE, THROTTLED, UNPROCESSED];

const READ: Metric = Metric {
    name: "cache.dynamodb.read_units",
    unit: "{unit}",
    meaning: "Read units that requests cost, as DynamoDB says.",
};
const WRITE: Metric = Metric {
    name: "cache.dynamodb.write_units",
    unit: "{unit}",
    meaning: "Write units that requests cost, as DynamoDB says.",
};
const THROTTLED: Metric = Metric {
    name: "cache.dynamodb.throttled",
    unit: "{request}",
    meaning: "Requests that DynamoDB refused because there were too many.",
};
const UNPROCESSED: Metric = Metric {
    name: "cache.dynamodb.unprocessed",
    unit: "{key}",
    meaning: "Keys that a batch left unprocessed, each time.",
};

impl Instruments {
    fn new(meter: &Meter) -> Self {
        let units = |metric: Metric| {
            meter
                .f64_counter(metric.name)
                .with_unit(metric.unit)
                .with_description(metric.meaning)
                .build()
        };
        let counts = |metric: Metric| {
            meter
                .u64_counter(metric.name)
                .with_unit(metric.unit)
                .with_description(metric.meaning)
                .build()
        };
        Self {
            read: units(READ),
            write: units(WRITE),
            throttled: counts(THROTTLED),
            unprocessed: counts(UNPROCESSED),
        }
    }

    /// The instruments of the global meter provider at the first call.
    fn global() -> &'static Self {
        static GLOBAL: OnceLock<Instruments> = OnceLock::new();
        GLOBAL.get_or_init(|| {
            let scope = InstrumentationScope::builder("cache-aws").with_version(env!("CARGO_PKG_VERSION"));
            Self::new(&global::meter_with_scope(scope.build()))
        })
    }
}

impl Cost {
    pub(super) fn new(table: &str) -> Self {
        Self {
            requests: AtomicU64::new(0),
            read: AtomicU64::new(0),
            write: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            unprocessed: AtomicU64::new(0),
            instruments: Instruments::global(),
            table: [KeyValue::new("db.collection.name", table.to_owned())],
        }
    }

    /// Records a request.
    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Records the cost of a read.
    pub(super) fn read<'a>(&self, consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        let units = sum(consumed);
        self.read.fetch_add(thousandths(units), Ordering::Relaxed);
        self.instruments.read.add(units, &self.table);
    }

    /// Records the cost of a write.
    pub(super) fn write<'a>(&self, consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        let units = sum(consumed);
        self.write.fetch_add(thousandths(units), Ordering::Relaxed);
        self.instruments.write.add(units, &self.table);
    }

    pub(super) fn throttled(&self) {
        self.throttled.fetch_add(1, Ordering::Relaxed);
        self.instruments.throttled.add(1, &self.table);
    }

    pub(super) fn unprocessed(&self, keys: usize) {
        let keys = u64::try_from(keys).unwrap_or(u64::MAX);
        self.unprocessed.fetch_add(keys, Ordering::Relaxed);
        self.instruments.unprocessed.add(keys, &self.table);
    }

    pub(super) fn stats(&self, clock_offset_ms: i64) -> DynamoDbStats {
        DynamoDbStats {
            requests: self.requests.load(Ordering::Relaxed),
            read_units: units(self.read.load(Ordering::Relaxed)),
            write_units: units(self.write.load(Ordering::Relaxed)),
            throttled: self.throttled.load(Ordering::Relaxed),
            unprocessed: self.unprocessed.load(Ordering::Relaxed),
            clock_offset_ms,
        }
    }
}

impl fmt::Debug for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stats(0).fmt(f)
    }
}

fn sum<'a>(consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) -> f64 {
    let units = consumed.into_iter().filter_map(ConsumedCapacity::capacity_units);
    units.filter(|units| *units > 0.0).sum()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "units of a request are few, and not negative"
)]
fn thousandths(units: f64) -> u64 {
    (units * 1_000.0).round() as u64
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 9 * 10^12 units")]
fn units(thousandths: u64) -> f64 {
    thousandths as f64 / 1_000.0
}

/// The table of the metrics, as it is in the documentation.
#[must_use]
pub fn markdown() -> String {
    let mut table =
        "| metric | instrument | unit | attributes | meaning |\n|---|---|---|---|---|\n".to_owned();
    for metric in METRICS {
        table.push_str(&format!(
            "| `{}` | counter | `{}` | `db.collection.name` | {} |\n",
            metric.name, metric.unit, metric.meaning
        ));
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use opentelemetry::metrics::MeterProvider as _;
    use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics};
    use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

    use super::*;

    #[test]
    fn halves_of_units_add_up() {
        let cost = Cost::new("tokens");
        let half = ConsumedCapacity::builder().capacity_units(0.5).build();
        cost.read([&half, &half]);
        cost.read([&half]);
        cost.write([&ConsumedCapacity::builder().capacity_units(3.0).build()]);
        let stats = cost.stats(0);
        assert!((stats.read_units - 1.5).abs() < 1e-9, "{stats:?}");
        assert!((stats.write_units - 3.0).abs() < 1e-9, "{stats:?}");
    }

    #[test]
    fn every_metric_is_emitted_once_with_the_table_alone() {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        let cost = Cost {
            instruments: Box::leak(Box::new(Instruments::new(&provider.meter("test")))),
            ..Cost::new("tokens")
        };
        let one = ConsumedCapacity::builder().capacity_units(1.5).build();
        cost.read([&one]);
        cost.write([&one]);
        cost.throttled();
        cost.unprocessed(3);
        provider.force_flush().unwrap();
        let exported = exporter.get_finished_metrics().unwrap();
        let metrics = exported
            .iter()
            .flat_map(ResourceMetrics::scope_metrics)
            .flat_map(ScopeMetrics::metrics);
        let mut emitted = BTreeMap::new();
        for metric in metrics {
            let (attributes, value): (Vec<KeyValue>, f64) = match metric.data() {
                AggregatedMetrics::F64(MetricData::Sum(sum)) => {
                    let point = sum.data_points().next().unwrap();
                    (point.attributes().cloned().collect(), point.value())
                }
                AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                    let point = sum.data_points().next().unwrap();
                    (
                        point.attributes().cloned().collect(),
                        units(point.value() * 1_000),
                    )
                }
                _ => panic!("{} is no sum", metric.name()),
            };
            assert_eq!(attributes, [KeyValue::new("db.collection.name", "tokens")]);
            emitted.insert(metric.name().to_owned(), value);
        }
        let wanted = [1.5, 1.5, 1.0, 3.0];
        let wanted = METRICS
            .iter()
            .zip(wanted)
            .map(|(metric, value)| (metric.name.to_owned(), value));
        assert_eq!(emitted, wanted.collect());
    }

    #[test]
    fn documentation_has_every_metric() {
        let page = include_str!("../../../docs/metrics.md");
        for line in markdown().lines() {
            assert!(
                page.contains(line),
                "docs/metrics.md should hold the line:\n{line}"
            );
        }
    }
}
