//! The connections of clients to servers, as metrics: asked when somebody collects.
//!
//! Not in here: counting. The client does that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use cache_valkey::{ConnectionStats, NodeStats, ValkeyClient};
use opentelemetry::metrics::Meter;
use opentelemetry::{InstrumentationScope, KeyValue, global};

/// A metric: its name, its unit, what it tells.
struct Metric {
    name: &'static str,
    unit: &'static str,
    meaning: &'static str,
}

/// How a number is taken from what the client says.
type Of<S> = fn(&S) -> u64;

/// Up-down counters of each node, at the moment.
const LEVELS: [(Metric, Of<NodeStats>); 3] = [
    (
        Metric {
            name: "cache.connection.count",
            unit: "{connection}",
            meaning: "Open connections to the node.",
        },
        |node| node.connections as u64,
    ),
    (
        Metric {
            name: "cache.connection.calls",
            unit: "{call}",
            meaning: "Calls that wait for their reply from the node.",
        },
        |node| node.calls_in_flight,
    ),
    (
        Metric {
            name: "cache.connection.size",
            unit: "By",
            meaning: "Bytes of requests that are encoded and not yet written to the node.",
        },
        |node| node.bytes_in_flight,
    ),
];

/// Counters of all clients, since the start of the process.
const TOTALS: [(Metric, Of<ConnectionStats>); 3] = [
    (
        Metric {
            name: "cache.connection.reconnects",
            unit: "{connection}",
            meaning: "Connections that were opened to a node whose last one had been lost.",
        },
        |stats| stats.reconnects,
    ),
    (
        Metric {
            name: "cache.connection.dial_failures",
            unit: "{attempt}",
            meaning: "Tries to open a connection that failed.",
        },
        |stats| stats.dial_failures,
    ),
    (
        Metric {
            name: "cache.connection.refreshes",
            unit: "{refresh}",
            meaning: "How often the servers were asked who serves what.",
        },
        |stats| stats.refreshes,
    ),
];

/// Tells from now on what `client` knows of its connections. This does not keep it alive.
pub(crate) fn watch(client: &Arc<ValkeyClient>) {
    static CLIENTS: OnceLock<Clients> = OnceLock::new();
    let clients = CLIENTS.get_or_init(|| {
        let scope = InstrumentationScope::builder("cache-stack").with_version(env!("CARGO_PKG_VERSION"));
        Clients::observed(&global::meter_with_scope(scope.build()))
    });
    clients.add(client);
}

/// Any number of clients, as long as they are in use.
#[derive(Clone, Default)]
struct Clients(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    in_use: Vec<Client>,
    /// The counters of the clients that are gone, in the order of [`TOTALS`].
    gone: [u64; TOTALS.len()],
}

/// A client, and what it said last.
type Client = (Weak<ValkeyClient>, ConnectionStats);

impl State {
    /// Asks every client once more and keeps the counters of those that are gone. Returns those in use: the caller
    /// drops them outside of the lock, since the last reference to a client may be among them.
    fn refresh(&mut self) -> Vec<Arc<ValkeyClient>> {
        let mut alive = Vec::new();
        let gone = &mut self.gone;
        self.in_use.retain_mut(|(client, last)| {
            let Some(client) = client.upgrade() else {
                for (sum, (_, of)) in gone.iter_mut().zip(&TOTALS) {
                    *sum += of(last);
                }
                return false;
            };
            *last = client.stats();
            alive.push(client);
            true
        });
        alive
    }
}

impl Clients {
    /// None so far; those that are added are told of by instruments of `meter`.
    fn observed(meter: &Meter) -> Self {
        let clients = Self::default();
        for (metric, of) in LEVELS {
            let clients = clients.clone();
            let level = meter.i64_observable_up_down_counter(metric.name);
            let level = level.with_unit(metric.unit).with_description(metric.meaning);
            level
                .with_callback(move |level| {
                    for ((host, port), sum) in clients.levels(of) {
                        let node = [
                            KeyValue::new("server.address", host),
                            KeyValue::new("server.port", port),
                        ];
                        level.observe(i64::try_from(sum).unwrap_or(i64::MAX), &node);
                    }
                })
                .build();
        }
        for (index, (metric, _)) in TOTALS.into_iter().enumerate() {
            let clients = clients.clone();
            let total = meter.u64_observable_counter(metric.name);
            let total = total.with_unit(metric.unit).with_description(metric.meaning);
            total
                .with_callback(move |total| total.observe(clients.total(index), &[]))
                .build();
        }
        clients
    }

    fn add(&self, client: &Arc<ValkeyClient>) {
        let mut state = self.lock();
        let alive = state.refresh();
        state.in_use.push((Arc::downgrade(client), client.stats()));
        drop(state);
        drop(alive);
    }

    /// The sum of all clients in use, for each node.
    fn levels(&self, of: Of<NodeStats>) -> BTreeMap<(String, i64), u64> {
        let mut sums = BTreeMap::new();
        let in_use = self.lock().refresh();
        for node in in_use.iter().flat_map(|client| client.stats().nodes) {
            let value = of(&node);
            *sums
                .entry((node.address.host, i64::from(node.address.port)))
                .or_default() += value;
        }
        sums
    }

    /// What all clients counted for `TOTALS[index]`, also those that are gone: a sum that never shrinks.
    fn total(&self, index: usize) -> u64 {
        let (_, of) = &TOTALS[index];
        let mut state = self.lock();
        let alive = state.refresh();
        let counted: u64 = state.in_use.iter().map(|(_, last)| of(last)).sum();
        let sum = state.gone[index] + counted;
        drop(state);
        drop(alive);
        sum
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cache_core::config::{Startup, Topology, ValkeyConfig};
    use opentelemetry::metrics::MeterProvider as _;
    use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics};
    use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
    use tokio::net::TcpListener;

    use super::*;

    /// Every metric, and whether it is one of each node.
    fn metrics() -> impl Iterator<Item = (Metric, bool)> {
        let levels = LEVELS.into_iter().map(|(metric, _)| (metric, true));
        levels.chain(TOTALS.into_iter().map(|(metric, _)| (metric, false)))
    }

    #[test]
    fn documentation_has_every_metric() {
        let page = include_str!("../../docs/metrics.md");
        for (Metric { name, unit, meaning }, of_each_node) in metrics() {
            let (instrument, attributes) = if of_each_node {
                ("up-down counter", "`server.address`, `server.port`")
            } else {
                ("counter", "")
            };
            let line = format!("| `{name}` | {instrument} | `{unit}` | {attributes} | {meaning} |");
            assert!(
                page.lines().any(|known| known == line),
                "docs/metrics.md lacks: {line}"
            );
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn metrics_are_emitted_and_totals_outlast_the_client() {
        // Nothing listens there.
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let config = ValkeyConfig::new(Topology::single(address.parse().unwrap()));
        let client = ValkeyClient::builder(&config)
            .startup(Startup::Degrade)
            .connect()
            .await;
        let client = Arc::new(client.unwrap());
        assert!(client.stats().dial_failures > 0);

        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        let clients = Clients::observed(&provider.meter("test"));
        clients.add(&client);
        provider.force_flush().unwrap();
        let exported = exporter.get_finished_metrics().unwrap();
        let emitted: BTreeSet<&str> = exported
            .iter()
            .flat_map(ResourceMetrics::scope_metrics)
            .flat_map(ScopeMetrics::metrics)
            .map(|metric| {
                let attributes = match metric.data() {
                    AggregatedMetrics::I64(MetricData::Sum(sum)) => {
                        sum.data_points().next().unwrap().attributes().count()
                    }
                    AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                        sum.data_points().next().unwrap().attributes().count()
                    }
                    _ => panic!("{} is no sum", metric.name()),
                };
                let known = metrics().find(|(known, _)| known.name == metric.name());
                let (_, of_each_node) = known.unwrap();
                assert_eq!(attributes, if of_each_node { 2 } else { 0 }, "{}", metric.name());
                metric.name()
            })
            .collect();
        assert_eq!(emitted, metrics().map(|(metric, _)| metric.name).collect());

        let dial_failures = TOTALS
            .iter()
            .position(|(metric, _)| metric.name.ends_with("dial_failures"));
        let dial_failures = dial_failures.unwrap();
        let failures = clients.total(dial_failures);
        drop(client);
        assert!(failures > 0 && clients.total(dial_failures) >= failures);
        assert!(
            clients.lock().in_use.is_empty(),
            "a client that is gone takes no room"
        );
        assert!(clients.total(dial_failures) >= failures);
        assert!(clients.levels(|node| node.connections as u64).is_empty());
    }
}
