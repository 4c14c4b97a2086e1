//! Metrics to a collector, by OTLP over HTTP.
//!
//! The SDK collects and sends on a thread of its own, outside of every runtime. So the client in here
//! brings a small runtime along, in which that thread does its I/O: exporting takes nothing from the
//! service's runtime, and an orderly end does not wait for a runtime that is waiting for it.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::CacheError;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{MetricExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::metrics::PeriodicReader;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Runtime;

/// Where metrics are sent, and how often.
///
/// What is not set here comes from OpenTelemetry's own variables, `OTEL_EXPORTER_OTLP_ENDPOINT`,
/// `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_METRIC_EXPORT_INTERVAL` and so on, where they are set.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Otlp {
    endpoint: Option<String>,
    interval: Option<Duration>,
}

impl Otlp {
    /// The whole URL, `http` or `https`; certificates are checked against the machine's roots. Default:
    /// `http://localhost:4318/v1/metrics`.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// How often metrics are sent. Default: every 60 seconds.
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    pub(super) fn reader(self) -> Result<PeriodicReader<MetricExporter>, CacheError> {
        let client = Client::new().map_err(|error| refused("otlp", &error))?;
        let mut exporter = MetricExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_timeout(TIMEOUT);
        if let Some(endpoint) = self.endpoint {
            exporter = exporter.with_endpoint(endpoint);
        }
        let exporter = exporter.build().map_err(|error| refused("endpoint", &error))?;
        let mut reader = PeriodicReader::builder(exporter);
        if let Some(interval) = self.interval {
            reader = reader.with_interval(interval);
        }
        Ok(reader.build())
    }
}

/// How long a collector may take: less than what the SDK waits for at its end.
const TIMEOUT: Duration = Duration::from_secs(3);

fn refused(argument: &'static str, error: &dyn fmt::Display) -> CacheError {
    CacheError::InvalidInput {
        argument,
        reason: error.to_string().into(),
    }
}

/// Sends on the calling thread, in a runtime of its own.
struct Client {
    runtime: Option<Runtime>,
    http: HyperClient<HttpsConnector<HttpConnector>>,
}

impl Client {
    fn new() -> Result<Self, HttpError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
            http: HyperClient::new(connector, TIMEOUT, None),
        })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // The thread of the SDK's reader, which belongs to no runtime, so blocking it is what it is for.
        match &self.runtime {
            Some(runtime) => runtime.block_on(self.http.send_bytes(request)),
            None => Err("the exporter has ended".into()),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The last reference may go in async code, where a runtime must not wait for its end.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use cache_core::clock;
    use opentelemetry::metrics::MeterProvider as _;

    use super::super::Telemetry;
    use super::*;

    #[tokio::test]
    async fn missing_collector_fails_without_blocking() {
        // Bound and dropped: nobody listens there.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let otlp = Otlp::default().endpoint(format!("http://{free}/v1/metrics"));
        let telemetry = Telemetry::builder().otlp(otlp).start().unwrap();
        let counter = telemetry.provider.meter("test").u64_counter("test").build();
        counter.add(1, &[]);
        let begun = clock::now();
        let error = telemetry.flush().unwrap_err();
        assert!(matches!(error, CacheError::Unavailable { .. }), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}
