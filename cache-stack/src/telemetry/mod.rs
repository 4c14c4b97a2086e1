//! Exporters for the metrics: OTLP over HTTP (feature `otlp`), and the text that Prometheus scrapes
//! (feature `prometheus`).
//!
//! A service that has an OpenTelemetry SDK of its own needs none of this: the layers measure with whatever
//! meter provider is the global one when the cache is made. This is for services that have none.
//!
//! Not in here: what is measured (the catalogue of `cache-layers`), an HTTP server for scrapes,
//! exporters of traces.

#[cfg(feature = "otlp")]
mod otlp;
#[cfg(feature = "prometheus")]
mod prometheus;

use std::borrow::Cow;
use std::fmt;

use cache_core::CacheError;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;

#[cfg(feature = "otlp")]
pub use self::otlp::Otlp;

/// The exporters of this process. Keep it for as long as the service runs: dropping it ends them.
///
/// # Examples
///
/// Before the cache is made, since instruments are bound to the provider that is the global one then:
///
#[cfg_attr(feature = "prometheus", doc = "```")]
#[cfg_attr(not(feature = "prometheus"), doc = "```ignore")]
/// use cache_stack::telemetry::Telemetry;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let telemetry = Telemetry::builder().service("tenant-service").prometheus().install()?;
/// let cache = cache_stack::from_env().await?;
/// // What the route for scrapes answers, with `Telemetry::CONTENT_TYPE`:
/// let text = telemetry.scrape()?;
/// # assert!(text.contains("tenant-service"));
/// # let _ = cache;
/// # Ok::<(), cache_core::CacheError>(())
/// # }).unwrap();
/// ```
#[must_use = "dropping it ends the exporters"]
pub struct Telemetry {
    provider: SdkMeterProvider,
    #[cfg(feature = "prometheus")]
    scrapes: Option<prometheus::Scrapes>,
}

impl Telemetry {
    /// Starts without an exporter.
    pub fn builder() -> TelemetryBuilder {
        TelemetryBuilder::default()
    }

    /// Exports what is measured so far. Blocks the thread for as long as that takes: at most 5 seconds, and
    /// from async code that has other work to do, through `spawn_blocking`.
    ///
    /// # Errors
    ///
    /// [`CacheError::Unavailable`] where the collector does not take it.
    pub fn flush(&self) -> Result<(), CacheError> {
        self.provider.force_flush().map_err(|error| unavailable(&error))
    }

    /// Exports what is measured so far and ends the exporters. Blocks as [`flush`](Self::flush) does.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush); the exporters have ended all the same.
    pub fn shutdown(self) -> Result<(), CacheError> {
        self.provider.shutdown().map_err(|error| unavailable(&error))
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Telemetry")
    }
}

/// Makes a [`Telemetry`]. A setter never fails; [`install`](Self::install) says what is wrong.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct TelemetryBuilder {
    service: Option<Cow<'static, str>>,
    #[cfg(feature = "otlp")]
    otlp: Option<Otlp>,
    #[cfg(feature = "prometheus")]
    prometheus: bool,
}

impl TelemetryBuilder {
    /// The name of the service (`service.name`). Default: `OTEL_SERVICE_NAME`, as OpenTelemetry reads it.
    pub fn service(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.service = Some(name.into());
        self
    }

    /// Sends metrics to a collector. Default: not.
    #[cfg(feature = "otlp")]
    pub fn otlp(mut self, otlp: Otlp) -> Self {
        self.otlp = Some(otlp);
        self
    }

    /// Has metrics ready for [`Telemetry::scrape`]. Default: not.
    #[cfg(feature = "prometheus")]
    pub const fn prometheus(mut self) -> Self {
        self.prometheus = true;
        self
    }

    /// Starts the exporters and makes their provider the global one of the process.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for no exporter at all, and for an endpoint that is none.
    pub fn install(self) -> Result<Telemetry, CacheError> {
        let telemetry = self.start()?;
        opentelemetry::global::set_meter_provider(telemetry.provider.clone());
        Ok(telemetry)
    }

    fn start(self) -> Result<Telemetry, CacheError> {
        let mut resource = Resource::builder();
        if let Some(service) = self.service {
            resource = resource.with_service_name(service);
        }
        let mut provider = SdkMeterProvider::builder().with_resource(resource.build());
        let mut exporters = 0;
        #[cfg(feature = "otlp")]
        if let Some(otlp) = self.otlp {
            provider = provider.with_reader(otlp.reader()?);
            exporters += 1;
        }
        #[cfg(feature = "prometheus")]
        let mut scrapes = None;
        #[cfg(feature = "prometheus")]
        if self.prometheus {
            let (reader, ready) = prometheus::Scrapes::start()?;
            provider = provider.with_reader(reader);
            scrapes = Some(ready);
            exporters += 1;
        }
        if exporters == 0 {
            return Err(CacheError::InvalidInput {
                argument: "exporter",
                reason: "takes at least one".into(),
            });
        }
        Ok(Telemetry {
            provider: provider.build(),
            #[cfg(feature = "prometheus")]
            scrapes,
        })
    }
}

/// What the SDK says of an exporter that does not get rid of its metrics.
fn unavailable(error: &opentelemetry_sdk::error::OTelSdkError) -> CacheError {
    CacheError::Unavailable {
        reason: cache_core::Unavailability::Connect,
        detail: format!("the metrics were not exported: {error}").into(),
        outcome: cache_core::Outcome::Unknown,
        source: None,
    }
}
