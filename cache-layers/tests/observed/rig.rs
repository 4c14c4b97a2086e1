//! A meter provider whose metrics a test can read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cache_core::CacheClient;
use cache_layers::observed::{ObservedConfigBuilder, Tier, Timing};
use cache_layers::{CacheMetrics, Observed, ObservedConfig};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

pub(crate) struct Rig {
    provider: SdkMeterProvider,
    exporter: InMemoryMetricExporter,
    pub(crate) metrics: CacheMetrics,
}

/// One data point.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) metric: String,
    pub(crate) unit: String,
    pub(crate) instrument: &'static str,
    pub(crate) labels: BTreeMap<String, String>,
    /// The sum, or how many values a histogram has.
    pub(crate) value: u64,
    /// The bounds of a histogram.
    pub(crate) bounds: Vec<f64>,
    /// What the values of a histogram add up to, or what a gauge says.
    pub(crate) seconds: f64,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone())
            .with_interval(Duration::from_secs(24 * 60 * 60))
            .build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        let metrics = CacheMetrics::new(&provider.meter("test"));
        Self {
            provider,
            exporter,
            metrics,
        }
    }

    /// `client`, observed; the duration of every call is measured.
    pub(crate) fn observe(&self, tier: Tier, client: impl CacheClient) -> Observed {
        self.observe_with(tier, Timing::Every, client)
    }

    pub(crate) fn observe_with(&self, tier: Tier, timing: Timing, client: impl CacheClient) -> Observed {
        let mut config = ObservedConfig::builder().tier(tier).timing(timing);
        if tier == Tier::Far {
            config = config.system("memory").server("cache.internal", 6379);
        }
        self.observe_as(config, client)
    }

    pub(crate) fn observe_as(&self, config: ObservedConfigBuilder, client: impl CacheClient) -> Observed {
        let config = config.metrics(self.metrics.clone()).build().unwrap();
        Observed::new(Arc::new(client), config)
    }

    /// All that would be exported now.
    pub(crate) fn points(&self) -> Vec<Point> {
        self.exporter.reset();
        self.provider.force_flush().unwrap();
        let exported = self.exporter.get_finished_metrics().unwrap();
        let scopes = exported.iter().flat_map(|all| all.scope_metrics());
        let metrics = scopes.flat_map(|scope| scope.metrics());
        metrics.flat_map(points_of).collect()
    }

    /// The values of `metric` by the values of its labels, in the order of their names.
    pub(crate) fn values(&self, metric: &str) -> BTreeMap<String, u64> {
        let points = self.points().into_iter().filter(|point| point.metric == metric);
        points
            .map(|point| {
                let labels: Vec<String> = point.labels.into_values().collect();
                (labels.join(" "), point.value)
            })
            .collect()
    }
}

fn points_of(metric: &opentelemetry_sdk::metrics::data::Metric) -> Vec<Point> {
    let point = |instrument, value, labels: Vec<(String, String)>| Point {
        metric: metric.name().to_owned(),
        unit: metric.unit().to_owned(),
        instrument,
        labels: labels.into_iter().collect(),
        value,
        bounds: Vec::new(),
        seconds: 0.0,
    };
    let label = |label: &opentelemetry::KeyValue| (label.key.to_string(), label.value.to_string());
    match metric.data() {
        AggregatedMetrics::U64(MetricData::Sum(sum)) => {
            let instrument = if sum.is_monotonic() {
                "counter"
            } else {
                "up-down counter"
            };
            sum.data_points()
                .map(|data| point(instrument, data.value(), data.attributes().map(label).collect()))
                .collect()
        }
        AggregatedMetrics::I64(MetricData::Sum(sum)) => sum
            .data_points()
            .map(|data| {
                let value = u64::try_from(data.value()).expect("no sum of ours is negative");
                point("up-down counter", value, data.attributes().map(label).collect())
            })
            .collect(),
        AggregatedMetrics::F64(MetricData::Histogram(histogram)) => histogram
            .data_points()
            .map(|data| Point {
                bounds: data.bounds().collect(),
                seconds: data.sum(),
                ..point("histogram", data.count(), data.attributes().map(label).collect())
            })
            .collect(),
        AggregatedMetrics::F64(MetricData::Gauge(gauge)) => gauge
            .data_points()
            .map(|data| Point {
                seconds: data.value(),
                ..point("gauge", 0, data.attributes().map(label).collect())
            })
            .collect(),
        other => panic!("{}: no test reads {other:?}", metric.name()),
    }
}
