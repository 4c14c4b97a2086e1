//! How a place in the stack is observed.

use cache_core::CacheError;

use crate::metrics::{CacheMetrics, Tier};
use crate::refuse::refuse;

/// The choices of an [`Observed`](super::Observed).
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

/// Of which calls the duration is measured. All are counted either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Timing {
    /// Of every call.
    Every,
    /// Of one call in this many, chosen by chance when it begins. So quantiles are those of all calls,
    /// and the count of the histogram is that of the sample.
    OneIn(u32),
    /// Of every call while there are few, and of more about this many per second on each thread, chosen by chance. What a
    /// measurement costs stays the same then, however busy the client is.
    UpTo(u32),
}

impl ObservedConfig {
    /// Starts with the defaults.
    pub fn builder() -> ObservedConfigBuilder {
        ObservedConfigBuilder::default()
    }
}

/// Makes an [`ObservedConfig`]. A setter never fails; [`build`](Self::build) says what is wrong.
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
    /// Where in the stack it stands. Default: [`Tier::Edge`].
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tier = Some(tier);
        self
    }

    /// Which system the calls go to, as the database conventions call it (`db.system.name`): for the far tier,
    /// and for the edge where no near tier is in between. What is timed is then
    /// `db.client.operation.duration`. Default: `_OTHER` in the far tier, none at the edge.
    pub fn system(mut self, name: &'static str) -> Self {
        self.system = Some(name);
        self
    }

    /// The one server that the calls go to (`server.address`, `server.port`). Not to be set where there are several, such
    /// as the nodes of a cluster. It is told where a [system](Self::system) is. Default: none.
    pub fn server(mut self, host: impl Into<String>, port: u16) -> Self {
        self.server = Some((host.into(), port));
        self
    }

    /// Of which calls the duration is measured. Default: of calls to a [system](Self::system), up to 1,000 per second and
    /// thread; at an edge without one, where a call may cost less than its measurement, one in 16.
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = Some(timing);
        self
    }

    /// The instruments. Default: [`CacheMetrics::global`], when [`build`](Self::build) is called.
    pub fn metrics(mut self, metrics: CacheMetrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// The configuration.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] that names the first choice that cannot be, and what can.
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
