//! The doctor: looks at a cache as a client of it would find it, and explains what is wrong.
//!
//! One file for each check, or for a few of a kind; [`examine`](Doctor::examine) says in which order they are
//! told. Checks that can be made at the same time are. Each has a deadline, so that what hangs is found and
//! hangs nobody. What they ask is small: some round trips to each node; what they write is a few keys below a
//! prefix of their own, with a short life, which they remove.
//!
//! Not in here: how it is shown.

mod certificates;
mod clocks;
mod cluster;
mod eviction;
mod finding;
mod identity;
mod latency;
mod near_tier;
mod nodes;
mod patient;
mod permissions;
mod proxies;
mod reach;
mod tracking;

use std::time::Duration;

use cache_core::config::{Backend, ValkeyConfig};
use cache_core::{CacheConfig, CacheError};
use futures::future::{BoxFuture, join_all};

pub use finding::{Diagnosis, Finding, Health};

use self::finding::{Check, Verdict};
use self::patient::Patient;
use self::reach::Reach;

const CONFIGURATION: Check = Check {
    name: "configuration",
    why: "a setting that does not hold, or that this version cannot do, lets no client start",
};

/// Examines the cache that a configuration names.
///
/// # Examples
///
/// ```
/// use cache_admin::{Doctor, Health};
/// use cache_core::CacheConfig;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let diagnosis = Doctor::new(CacheConfig::default()).examine().await;
/// assert_eq!(diagnosis.worst(), Health::Ok);
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct Doctor {
    config: CacheConfig,
    deadline: Duration,
    prefix: String,
}

impl Doctor {
    /// What the keys begin with that it writes, after the prefix of the configuration, unless it is told otherwise.
    pub const PREFIX: &str = "cachectl-doctor:";

    /// A doctor for the cache that `config` names.
    #[must_use]
    pub fn new(config: CacheConfig) -> Self {
        Self {
            config,
            deadline: Duration::from_secs(10),
            prefix: Self::PREFIX.to_owned(),
        }
    }

    /// How long each check may take. Default: 10 s.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// What the few keys begin with that are written, for users that are allowed no others. The prefix of the
    /// configuration comes before it. Default: `cachectl-doctor:`.
    #[must_use]
    pub fn with_key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Makes all checks. What is wrong is in the diagnosis; there is no error.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; a key that was written goes with its life then, half a minute.
    pub async fn examine(&self) -> Diagnosis {
        if let Err(error) = cache_stack::check(&self.config) {
            let problems: Vec<String> = error.problems().iter().map(ToString::to_string).collect();
            let verdict = Verdict::fail(problems.join("; "), "correct the settings that are named");
            return without_servers(verdict, "the configuration does not hold");
        }
        match &self.config.backend {
            Backend::Valkey(valkey) => Box::pin(self.examine_servers(valkey)).await,
            backend => without_servers(Verdict::ok(backend.to_string()), "there are no servers"),
        }
    }

    async fn examine_servers(&self, valkey: &ValkeyConfig) -> Diagnosis {
        let (reach, patient) = futures::join!(
            reach::look(valkey, self.deadline),
            Box::pin(Patient::admit(self, valkey))
        );
        let configuration = match &patient {
            // What the servers say of themselves contradicts it.
            Err(error @ CacheError::Config(_)) => Verdict::fail(
                error.to_string(),
                "correct the setting that is named; the servers themselves answer",
            ),
            _ => Verdict::ok(self.config.backend.to_string()),
        };
        let verdicts = match &patient {
            Ok(patient) => Box::pin(self.examine_nodes(valkey, patient, reach)).await,
            Err(error) => {
                let tls = self.within(certificates::look(valkey, None)).await;
                let (auth, primaries) = (identity::refused(error), nodes::unknown(error));
                let unseen = || Verdict::skipped("nobody could be asked");
                let seen = [reach.names, reach.tcp, tls, auth, unseen(), primaries];
                let unseen = std::iter::repeat_with(unseen).take(CHECKS.len() - seen.len());
                seen.into_iter().chain(unseen).collect()
            }
        };
        told(configuration, verdicts)
    }

    /// In the order of [`CHECKS`].
    async fn examine_nodes(&self, valkey: &ValkeyConfig, patient: &Patient, reach: Reach) -> Vec<Verdict> {
        if let Some(proxies) = proxies::look(patient) {
            let tls = self.within(certificates::look(valkey, None)).await;
            patient.discharge().await;
            let hidden = || Verdict::skipped(proxies::HIDDEN);
            let seen = [reach.names, reach.tcp, tls, hidden(), hidden(), proxies];
            let rest = std::iter::repeat_with(hidden).take(CHECKS.len() - seen.len());
            return seen.into_iter().chain(rest).collect();
        }
        // Each is boxed: one future of them all would be large.
        let checks: [BoxFuture<'_, Verdict>; 11] = [
            Box::pin(self.within(certificates::look(valkey, Some(patient)))),
            Box::pin(self.within(identity::look(patient))),
            Box::pin(self.within(permissions::look(patient))),
            Box::pin(self.within(nodes::primaries(patient))),
            Box::pin(self.within(nodes::replicas(patient))),
            Box::pin(self.within(cluster::state(patient))),
            Box::pin(self.within(cluster::slots(patient))),
            Box::pin(self.within(cluster::epochs(patient))),
            Box::pin(self.within(eviction::look(patient))),
            Box::pin(self.within(tracking::look(patient))),
            Box::pin(self.within(clocks::look(patient))),
        ];
        let names = reach::announced(reach.names, valkey, patient, self.deadline / 2);
        let (names, checked) = futures::join!(names, join_all(checks));
        let mut verdicts = vec![names, reach.tcp];
        verdicts.extend(checked);
        // By themselves, so that nothing of the doctor's own stands in the way of what is measured.
        verdicts.push(self.within(latency::look(patient)).await);
        verdicts.push(self.within(near_tier::look(patient)).await);
        patient.discharge().await;
        verdicts
    }

    /// `check`, or that it did not end.
    async fn within(&self, check: impl Future<Output = Verdict>) -> Verdict {
        let ended = tokio::time::timeout(self.deadline, check).await;
        ended.unwrap_or_else(|_| {
            Verdict::fail(
                format!("no result within {}", humantime::format_duration(self.deadline)),
                "a node or the network hangs: see which of the other checks names one",
            )
            .unless_explained()
        })
    }
}

/// The checks besides that of the configuration, in the order in which they are told.
const CHECKS: [Check; 15] = [
    reach::NAMES,
    reach::TCP,
    certificates::CHECK,
    identity::CHECK,
    permissions::CHECK,
    nodes::PRIMARIES,
    nodes::REPLICAS,
    cluster::STATE,
    cluster::SLOTS,
    cluster::EPOCHS,
    eviction::CHECK,
    tracking::CHECK,
    clocks::CHECK,
    latency::CHECK,
    near_tier::CHECK,
];

fn told(configuration: Verdict, others: Vec<Verdict>) -> Diagnosis {
    let others = CHECKS.into_iter().zip(others);
    Diagnosis::collect(std::iter::once((CONFIGURATION, configuration)).chain(others))
}

/// A diagnosis where there is nobody to ask.
fn without_servers(configuration: Verdict, reason: &str) -> Diagnosis {
    told(configuration, vec![Verdict::skipped(reason); CHECKS.len()])
}

#[cfg(test)]
mod tests {
    use cache_core::config::Topology;

    use super::*;

    #[tokio::test]
    async fn what_cannot_be_configured_is_named_and_nothing_else_is_tried() {
        let mut config = CacheConfig::default();
        config.op_timeout = Some(Duration::ZERO);
        let diagnosis = Doctor::new(config).examine().await;
        let failed: Vec<_> = diagnosis
            .findings
            .iter()
            .filter(|finding| finding.state != Health::Skipped)
            .collect();
        assert_eq!(failed.len(), 1);
        assert_eq!(
            (failed[0].check, failed[0].state),
            ("configuration", Health::Fail)
        );
        assert!(failed[0].seen.contains("CACHE_OP_TIMEOUT"), "{}", failed[0].seen);
    }

    #[tokio::test]
    async fn nobody_at_the_address_is_named_once() {
        // Nothing listens on a port that was free a moment ago.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        drop(listener);
        let config = CacheConfig::builder()
            .valkey(ValkeyConfig::new(Topology::single(address)))
            .build()
            .unwrap();
        let diagnosis = Doctor::new(config).examine().await;
        let failed: Vec<_> = diagnosis
            .findings
            .iter()
            .filter(|finding| finding.state == Health::Fail)
            .map(|finding| finding.check)
            .collect();
        assert_eq!(failed, ["tcp"], "{diagnosis:?}");
        assert_eq!(diagnosis.findings.len(), CHECKS.len() + 1);
    }
}
