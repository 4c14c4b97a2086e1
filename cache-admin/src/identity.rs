//! Which cache something belongs to, so that a job, a cursor or a confirmation is never used on another one.
//!
//! Not in here: asking for it ([`Keys::layout`](crate::Keys::layout)), and refusing.

use std::collections::BTreeSet;
use std::fmt;

use cache_core::CacheError;
use serde::{Deserialize, Serialize};

/// Which cache something belongs to.
///
/// Servers are known by ids that they make themselves: the nodes of a cluster by their node ids; a single server by its
/// run id and its replication ids, which a replica keeps when it is promoted. So a failover or a new shard is the same
/// cache as before. A single server that restarts without replicas gets new ids: it is another cache until an operator
/// [accepts](crate::Options::with_accepted_cache) it. An address is no identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheIdentity {
    kind: CacheKind,
    ids: BTreeSet<String>,
    #[serde(default)]
    database: u32,
    #[serde(default)]
    prefix: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CacheKind {
    Embedded,
    Server,
    Cluster,
    Table,
}

/// How many ids are named in words.
const NAMED: usize = 3;

impl CacheIdentity {
    /// The embedded cache of a process.
    #[must_use]
    pub const fn embedded() -> Self {
        Self::new(CacheKind::Embedded, BTreeSet::new())
    }

    /// A single server, or a primary that sentinels watch, by its run id and replication ids.
    #[must_use]
    pub fn server(ids: impl IntoIterator<Item = String>) -> Self {
        Self::new(CacheKind::Server, ids.into_iter().collect())
    }

    /// A cluster, by the ids of its nodes.
    #[must_use]
    pub fn cluster(ids: impl IntoIterator<Item = String>) -> Self {
        Self::new(CacheKind::Cluster, ids.into_iter().collect())
    }

    /// A table of DynamoDB, by its ARN.
    #[must_use]
    pub fn table(arn: impl Into<String>) -> Self {
        Self::new(CacheKind::Table, [arn.into()].into())
    }

    const fn new(kind: CacheKind, ids: BTreeSet<String>) -> Self {
        Self {
            kind,
            ids,
            database: 0,
            prefix: String::new(),
        }
    }

    /// The database of the servers. Default: 0.
    #[must_use]
    pub const fn with_database(mut self, database: u32) -> Self {
        self.database = database;
        self
    }

    /// What the service puts before every key. Default: nothing.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Whether the servers said who they are. `false` if the user may not ask (`INFO`, `CLUSTER NODES`, `CLUSTER SLOTS`)
    /// or none of them answered.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.kind == CacheKind::Embedded || !self.ids.is_empty()
    }

    /// Whether both are the same cache for sure: same kind, database and prefix, and at least one id in common.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.is_alike(other) && (self.kind == CacheKind::Embedded || !self.ids.is_disjoint(&other.ids))
    }

    /// Whether nothing says that they are different caches.
    #[cfg(feature = "jobs")]
    pub(crate) fn may_be(&self, other: &Self) -> bool {
        let unknown = !self.is_known() || !other.is_known();
        self.is_same_as(other) || (unknown && self.is_alike(other))
    }

    /// The parts that never change.
    fn is_alike(&self, other: &Self) -> bool {
        (self.kind, self.database, &self.prefix) == (other.kind, other.database, &other.prefix)
    }

    /// Whether work that began on this cache may go on with `now`; the error names both.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] if that is another cache, or if either of them is not [known](Self::is_known).
    pub fn check(&self, now: &Self) -> Result<(), CacheError> {
        if self.is_same_as(now) {
            return Ok(());
        }
        let why = if self.is_known() && now.is_known() {
            "it began on"
        } else {
            "the servers must say who they are (grant INFO and CLUSTER NODES); it began on"
        };
        Err(CacheError::InvalidInput {
            argument: "cache",
            reason: format!("{why} {self}, and this is {now}").into(),
        })
    }

    #[cfg(feature = "http")]
    /// The parts of it that are compared as they are.
    pub(crate) fn fixed(&self) -> Vec<Vec<u8>> {
        vec![
            format!("{:?} {}", self.kind, self.database).into_bytes(),
            self.prefix.clone().into_bytes(),
        ]
    }

    #[cfg(feature = "http")]
    pub(crate) const fn ids(&self) -> &BTreeSet<String> {
        &self.ids
    }
}

/// In words, such as `the cluster of 3 nodes 07c37dfe, 5f1e9a02, a8b0c411`.
impl fmt::Display for CacheIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shorter = |id: &String| id.chars().take(8).collect::<String>();
        let named: Vec<String> = self.ids.iter().take(NAMED).map(shorter).collect();
        let named = named.join(", ");
        let more = if self.ids.len() > NAMED { ", ..." } else { "" };
        match (self.kind, self.ids.len()) {
            (CacheKind::Embedded, _) => f.write_str("the embedded cache")?,
            (CacheKind::Table, _) => {
                let arn = self.ids.first().map_or("", String::as_str);
                write!(f, "the table {arn}")?;
            }
            (CacheKind::Server, 0) => f.write_str("a server that does not say which one it is")?,
            (CacheKind::Server, _) => write!(f, "the server {named}{more}")?,
            (CacheKind::Cluster, 0) => f.write_str("a cluster that does not say which one it is")?,
            (CacheKind::Cluster, 1) => write!(f, "the cluster of the node {named}")?,
            (CacheKind::Cluster, nodes) => write!(f, "the cluster of {nodes} nodes {named}{more}")?,
        }
        if self.database != 0 {
            write!(f, ", database {}", self.database)?;
        }
        if !self.prefix.is_empty() {
            write!(f, ", key prefix {:?}", self.prefix)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn one_common_id_makes_it_the_same_cache() {
        let before = CacheIdentity::cluster(ids(&["a", "b", "c"]));
        let after = CacheIdentity::cluster(ids(&["c", "d"]));
        assert!(before.check(&after).is_ok());
        let failed_over = CacheIdentity::server(ids(&["run-b", "repl-b", "repl-a"]));
        let server = CacheIdentity::server(ids(&["run-a", "repl-a"]));
        assert!(server.check(&failed_over).is_ok());
        assert!(
            CacheIdentity::embedded()
                .check(&CacheIdentity::embedded())
                .is_ok()
        );
    }

    #[test]
    fn anything_else_is_another_cache_and_the_error_names_both() {
        let cluster = CacheIdentity::cluster(ids(&["a", "b"]));
        for other in [
            CacheIdentity::cluster(ids(&["c"])),
            CacheIdentity::cluster(ids(&[])),
            CacheIdentity::server(ids(&["a"])),
            cluster.clone().with_database(3),
            cluster.clone().with_prefix("x:"),
            CacheIdentity::embedded(),
            CacheIdentity::table("a"),
        ] {
            let error = cluster.check(&other).unwrap_err().to_string();
            assert!(
                error.contains(&cluster.to_string()) && error.contains(&other.to_string()),
                "{error}"
            );
            assert!(other.check(&cluster).is_err(), "{other}");
        }
        let unknown = CacheIdentity::server(ids(&[]));
        assert!(
            unknown
                .check(&unknown)
                .unwrap_err()
                .to_string()
                .contains("grant INFO")
        );
    }

    #[test]
    fn it_comes_back_from_json_as_it_was() {
        let cluster = CacheIdentity::cluster(ids(&["a", "b"]))
            .with_database(3)
            .with_prefix("x:");
        let text = serde_json::to_string(&cluster).unwrap();
        assert_eq!(serde_json::from_str::<CacheIdentity>(&text).unwrap(), cluster);
    }
}
