//! Configuration of one place of observation in the stack.

use cache_core::CacheError;

use crate::metrics::{CacheMetrics, Tier};
use crate::refuse::refuse;

/// The configuration of an [`Observed`](super::Observed).
///
/// ```
/// use cache_layers::ObservedConfig;
/// use cache_layers::observed::{Tier, Timing};
///
/// let far = ObservedConfig::builder().tier(Tier::Far).system("valkey").build()?;
/// let edge = ObservedConfig::builder().timing(Timing::OneIn(64)).build()?;
/// # let _ = (far, edge);
/// # Ok::<(), cache_core::CacheError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ObservedConfig {
    pub(super) tier: Tier,
    pub(super) system: Option<&'static str>,
    pub(super) server: Option<(String, u16)>,
    pub(super) timing: Timing,
    pub(super) metrics: CacheMetrics,
}

/// The calls whose duration is measured. All calls are counted in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Timing {
    /// Every call.
    Every,
    /// One call in this many, chosen at random when it begins. So quantiles are those of all calls, and the count of
    /// the histogram is that of the sample.
    OneIn(u32),
    /// Every call while there are few. Of more calls about this many per second on each thread, chosen at random. So
    /// the cost of measuring stays the same, however busy the client is.
    UpTo(u32),
}

impl ObservedConfig {
    /// Starts with the defaults.
    pub fn builder() -> ObservedConfigBuilder {
        ObservedConfigBuilder::default()
    }
}

/// Builds an [`ObservedConfig`]. A setter never fails; [`build`](Self::build) reports what is wrong.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ObservedConfigBuilder {
    tier: Option<Tier>,
    system: Option<&'static str>,
    server: Option<(String, u16)>,
    timing: Option<Timing>,
    metrics: Option<CacheMetrics>,
}

impl ObservedConfigBuilder {
    /// The place in the stack. Default: [`Tier::Edge`].
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tier = Some(tier);
        self
    }

    /// The system that the calls go to, by its name in the database conventions (`db.system.name`). For the far tier,
    /// and for the edge if there is no near cache in between. Durations are then measured as
    /// `db.client.operation.duration`. Default: `_OTHER` in the far tier, none at the edge.
    pub fn system(mut self, name: &'static str) -> Self {
        self.system = Some(name);
        self
    }

    /// The one server that the calls go to (`server.address`, `server.port`). Do not set it if there are several,
    /// such as the nodes of a cluster. It is reported together with a [system](Self::system). Default: none.
    pub fn server(mut self, host: impl Into<String>, port: u16) -> Self {
        self.server = Some((host.into(), port));
        self
    }

    /// The calls whose duration is measured. Default: up to 1,000 calls to a [system](Self::system) per second and
    /// thread. At an edge without a system, one call in 16, because a call may cost less than its measurement.
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = Some(timing);
        self
    }

    /// The instruments. Default: [`CacheMetrics::global`], when [`build`](Self::build) is called.
    pub fn metrics(mut self, metrics: CacheMetrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Builds the configuration.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`], which names the first invalid setting and what it accepts.
    pub fn build(self) -> Result<ObservedConfig, CacheError> {
        let tier = self.tier.unwrap_or(Tier::Edge);
        let system = self.system.or((tier == Tier::Far).then_some("_OTHER"));
        let timing = self.timing.unwrap_or(match system {
            None => Timing::OneIn(16),
            Some(_) => Timing::UpTo(1_000),
        });
        if system.is_some_and(str::is_empty) {
            return refuse("system", "takes a name that is not empty");
        }
        if self.server.as_ref().is_some_and(|(host, _)| host.is_empty()) {
            return refuse("server", "takes a host that is not empty");
        }
        if matches!(timing, Timing::OneIn(0) | Timing::UpTo(0)) {
            return refuse("timing", "takes one call in 1 or more");
        }
        Ok(ObservedConfig {
            tier,
            system,
            server: self.server.filter(|_| system.is_some()),
            timing,
            metrics: self.metrics.unwrap_or_else(CacheMetrics::global),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let new = ObservedConfig::builder;
        let refused = |builder: ObservedConfigBuilder| builder.build().unwrap_err().to_string();
        assert_eq!(
            refused(new().timing(Timing::OneIn(0))),
            "invalid timing: takes one call in 1 or more"
        );
        assert_eq!(
            refused(new().system("")),
            "invalid system: takes a name that is not empty"
        );
        assert_eq!(
            refused(new().server("", 6379)),
            "invalid server: takes a host that is not empty"
        );
    }

    #[test]
    fn the_edge_is_timed_by_a_sample_and_calls_to_a_system_as_a_whole() {
        let of = |config: ObservedConfigBuilder| config.build().unwrap().timing;
        let new = ObservedConfig::builder;
        assert_eq!(of(new().tier(Tier::Edge)), Timing::OneIn(16));
        assert_eq!(of(new().tier(Tier::Far)), Timing::UpTo(1_000));
        assert_eq!(of(new().tier(Tier::Edge).system("valkey")), Timing::UpTo(1_000));
    }
}
