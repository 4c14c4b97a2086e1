//! Metrics as the text that Prometheus scrapes, by `opentelemetry-prometheus`.

use cache_core::{CacheError, Unavailability};
use opentelemetry_prometheus::PrometheusExporter;
use prometheus::{Registry, TextEncoder};

use super::Telemetry;

/// Where scrapes find what is measured.
pub(super) struct Scrapes(Registry);

impl Scrapes {
    pub(super) fn start() -> Result<(PrometheusExporter, Self), CacheError> {
        let registry = Registry::new();
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            // Labels that would be the same on every line.
            .scope_info_enabled(false)
            .build()
            .map_err(|error| super::unavailable(&error))?;
        Ok((reader, Self(registry)))
    }
}

impl Telemetry {
    /// The content type of [`scrape`](Self::scrape).
    pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

    /// All metrics of the process, in the text format of Prometheus: what the route for scrapes answers.
    ///
    /// # Errors
    ///
    /// [`CacheError::Unsupported`] without [`prometheus`](super::TelemetryBuilder::prometheus);
    /// [`CacheError::Unavailable`] where a metric cannot be written as text.
    pub fn scrape(&self) -> Result<String, CacheError> {
        let Some(scrapes) = &self.scrapes else {
            return Err(CacheError::Unsupported {
                detail: "nothing is kept for scrapes; install telemetry with prometheus".into(),
            });
        };
        TextEncoder::new()
            .encode_to_string(&scrapes.0.gather())
            .map_err(|error| CacheError::Unavailable {
                reason: Unavailability::NotReady,
                detail: "the metrics cannot be written as text".into(),
                outcome: cache_core::Outcome::NotApplied,
                source: Some(std::sync::Arc::new(error)),
            })
    }
}
