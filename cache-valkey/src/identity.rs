//! Decides whether a server is the expected one, by its kind and its node id in a cluster.
//!
//! Pure: replies in, a decision out. An address only says where a server is reached today; tomorrow another
//! server may answer there. Not in here: asking a connection (`dial/server_check.rs`), and choosing between
//! views of a cluster (`cluster/known_cluster.rs`).

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use cache_core::config::Address;
use cache_core::{CacheError, ConfigError, Outcome, Unavailability};

/// The id that a cluster node generated for itself, and keeps when its address changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(Arc<str>);

/// The nodes of a cluster, by their ids.
pub(crate) type Ids = BTreeSet<NodeId>;

impl NodeId {
    /// The id in a reply; `None` for an empty one.
    pub(crate) fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    /// Shows the first 8 characters, which tell the nodes of a cluster apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get(..8).unwrap_or(&self.0))
    }
}

/// Whether two lists of nodes describe one cluster: they share at least half of the shorter list. `None` if a
/// list is empty.
///
/// One shared node is not enough, because an operator may have moved it between clusters. All nodes would be
/// too strict, because nodes come and go.
pub(crate) fn are_same_cluster(one: &Ids, other: &Ids) -> Option<bool> {
    let shorter = one.len().min(other.len());
    (shorter > 0).then(|| one.intersection(other).count() * 2 >= shorter)
}

/// The kind of a server, as its `HELLO` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerKind {
    /// A server outside of a cluster, which may have replicas.
    Single,
    /// A node of a cluster.
    Cluster,
    /// A sentinel.
    Sentinel,
}

impl ServerKind {
    /// The kind for the `mode` in a reply to `HELLO`; `None` for an unknown mode.
    pub(crate) fn of_mode(mode: &str) -> Option<Self> {
        match mode {
            "standalone" => Some(Self::Single),
            "cluster" => Some(Self::Cluster),
            "sentinel" => Some(Self::Sentinel),
            _ => None,
        }
    }

    /// The error if a server of this kind answers at `address` and `wanted` is configured.
    pub(crate) fn instead_of(self, wanted: Self, address: &Address) -> CacheError {
        let advice = match (self, wanted) {
            (Self::Single, Self::Sentinel) => {
                "is not a sentinel but a server that holds data; set CACHE_MODE=single, or name the sentinels in CACHE_ADDRS"
            }
            (Self::Single, _) => "is not part of a cluster; set CACHE_MODE=single",
            (Self::Cluster, _) => "is a node of a cluster; set CACHE_MODE=cluster",
            (Self::Sentinel, _) => {
                "is a sentinel, which holds no data; set CACHE_MODE=sentinel and CACHE_SENTINEL_MASTER, or name the servers \
                 in CACHE_ADDRS"
            }
        };
        CacheError::Config(ConfigError::one("CACHE_MODE", format!("{address} {advice}")))
    }
}

impl fmt::Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single => "a server that is not part of a cluster",
            Self::Cluster => "a node of a cluster",
            Self::Sentinel => "a sentinel",
        })
    }
}

/// Which server must answer at an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Expected {
    /// Any server of the right kind: the address is a configured one.
    #[default]
    AnyServer,
    /// A node of the known cluster: another node of it named the address.
    Member,
    /// This node.
    Node(NodeId),
}

impl Expected {
    /// Expects the node with this id, or any node of the known cluster without an id.
    pub(crate) fn node(id: Option<&NodeId>) -> Self {
        id.map_or(Self::Member, |id| Self::Node(id.clone()))
    }

    /// Whether this is a stricter form of `other`.
    pub(crate) fn is_stricter_than(&self, other: &Self) -> bool {
        matches!(
            (self, other),
            (Self::Member | Self::Node(_), Self::AnyServer) | (Self::Node(_), Self::Member)
        )
    }

    /// Whether `own`, the node's own id, identifies it as the right one among the nodes of the `known`
    /// cluster. If not, the node's view of its cluster [decides](Self::check_view).
    pub(crate) fn is_met_by(&self, own: Option<&NodeId>, known: &Ids) -> bool {
        match self {
            Self::AnyServer => true,
            Self::Member => known.is_empty() || own.is_some_and(|own| known.contains(own)),
            Self::Node(id) => own == Some(id),
        }
    }

    /// Checks the node by its view of its cluster: all nodes that it knows, itself included. `view` is `None`
    /// if it shows none.
    ///
    /// Missing information is not an error: the user may not be allowed to ask for the node's id, and a proxy
    /// may show a cluster whose nodes it does not know.
    pub(crate) fn check_view(
        &self,
        own: Option<&NodeId>,
        view: Option<&Ids>,
        known: &Ids,
    ) -> Result<(), WrongServer> {
        let is_same_cluster = match (view, own) {
            (Some(view), _) if !view.is_empty() => are_same_cluster(view, known) != Some(false),
            (_, own) => own.is_none(),
        };
        let is_met = match self {
            Self::AnyServer => true,
            Self::Member => is_same_cluster,
            Self::Node(id) => {
                let is_listed = |id: &NodeId| view.is_some_and(|view| view.contains(id));
                match own {
                    Some(own) => is_listed(id) && !is_listed(own),
                    None => is_listed(id) || is_same_cluster,
                }
            }
        };
        if is_met {
            return Ok(());
        }
        let found = own.map_or_else(|| "another node".to_owned(), |own| format!("node {own}"));
        let of = if is_same_cluster {
            ""
        } else {
            " of another cluster"
        };
        Err(WrongServer {
            found: format!("{found}{of}"),
            expected: match self {
                Self::Node(id) => format!("node {id}"),
                _ => "a node of the known cluster".to_owned(),
            },
        })
    }
}

/// The error if another server than the expected one answers at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WrongServer {
    pub(crate) found: String,
    pub(crate) expected: String,
}

impl fmt::Display for WrongServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the server that is known to be there")
    }
}

impl Error for WrongServer {}

impl WrongServer {
    /// The error of a connection to `address`, which was closed before it was used.
    pub(crate) fn at(self, address: &Address) -> CacheError {
        CacheError::Unavailable {
            reason: Unavailability::NotReady,
            detail: format!("{address} now leads to {}, not to {}", self.found, self.expected).into(),
            outcome: Outcome::NotApplied,
            source: Some(Arc::new(self)),
        }
    }

    /// Whether `error` says that another server answered.
    pub(crate) fn is_cause_of(error: &CacheError) -> bool {
        match error {
            CacheError::Unavailable {
                source: Some(source), ..
            } => source.is::<Self>(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> NodeId {
        NodeId::new(text).unwrap()
    }

    fn ids(names: &[&str]) -> Ids {
        names.iter().map(|name| id(name)).collect()
    }

    #[test]
    fn lists_sharing_half_of_the_shorter_are_one_cluster() {
        let a = ids(&["a0", "a1", "a2"]);
        assert_eq!(are_same_cluster(&a, &a), Some(true));
        assert_eq!(are_same_cluster(&a, &ids(&["b0", "b1", "b2"])), Some(false));
        // Seven nodes joined at once.
        let grown = ids(&["a0", "a1", "a2", "n1", "n2", "n3", "n4", "n5", "n6", "n7"]);
        assert_eq!(are_same_cluster(&a, &grown), Some(true));
        // One node was reset and joined the other cluster.
        assert_eq!(are_same_cluster(&a, &ids(&["b0", "b1", "b2", "a2"])), Some(false));
        assert_eq!(are_same_cluster(&a, &Ids::new()), None);
    }

    #[test]
    fn node_is_recognised_by_its_id() {
        let known = ids(&["a0", "a1", "a2"]);
        let expected = Expected::Node(id("a2"));
        assert!(expected.is_met_by(Some(&id("a2")), &known));
        assert!(!expected.is_met_by(Some(&id("b0")), &known));
        let foreign = ids(&["b0", "b1", "b2"]);
        let found = expected.check_view(Some(&id("b0")), Some(&foreign), &known);
        assert_eq!(found.unwrap_err().found, "node b0 of another cluster");
        let found = expected.check_view(Some(&id("a1")), Some(&known), &known);
        assert_eq!(found.unwrap_err().found, "node a1");
        let unsaid = expected.check_view(None, Some(&foreign), &known);
        assert_eq!(unsaid.unwrap_err().found, "another node of another cluster");
        // Reset, in no cluster any more.
        assert!(
            expected
                .check_view(Some(&id("x")), Some(&Ids::new()), &known)
                .is_err()
        );
    }

    #[test]
    fn newly_joined_node_is_recognised_by_its_view() {
        let known = ids(&["a0", "a1", "a2"]);
        let grown = ids(&["a0", "a1", "a2", "new"]);
        let new = id("new");
        assert!(!Expected::Member.is_met_by(Some(&new), &known));
        assert!(
            Expected::Member
                .check_view(Some(&new), Some(&grown), &known)
                .is_ok()
        );
        let foreign = ids(&["b0", "b1", "new"]);
        assert!(
            Expected::Member
                .check_view(Some(&new), Some(&foreign), &known)
                .is_err()
        );
        assert!(Expected::Member.is_met_by(Some(&id("a1")), &known));
        assert!(
            Expected::Member.is_met_by(None, &Ids::new()),
            "nothing is known yet"
        );
    }

    #[test]
    fn missing_information_is_no_contradiction() {
        let known = ids(&["a0", "a1", "a2"]);
        for expected in [Expected::Member, Expected::Node(id("a0"))] {
            // The user may ask for the slots alone, or the servers name no ids.
            assert!(expected.check_view(None, Some(&known), &known).is_ok());
            assert!(expected.check_view(None, Some(&Ids::new()), &known).is_ok());
            assert!(expected.check_view(None, None, &known).is_ok());
        }
        // A proxy that shows a cluster of its making.
        let proxy = id("proxy");
        let expected = Expected::Node(id("a0"));
        assert!(expected.check_view(Some(&proxy), Some(&known), &known).is_ok());
    }

    #[test]
    fn wrong_server_kind_names_variable_and_right_value() {
        use ServerKind::{Cluster, Sentinel, Single};
        let address = Address::new("a", 1);
        for (found, wanted, advice) in [
            (Single, Cluster, "CACHE_MODE=single"),
            (Single, Sentinel, "CACHE_MODE=single"),
            (Cluster, Single, "CACHE_MODE=cluster"),
            (Cluster, Sentinel, "CACHE_MODE=cluster"),
            (Sentinel, Single, "CACHE_MODE=sentinel"),
            (Sentinel, Cluster, "CACHE_MODE=sentinel"),
        ] {
            let error = found.instead_of(wanted, &address);
            assert!(error.to_string().contains(advice), "{error}");
            assert!(error.to_string().contains("CACHE_MODE: a:1 is "), "{error}");
        }
        assert_eq!(ServerKind::of_mode("sentinel"), Some(Sentinel));
        assert_eq!(ServerKind::of_mode("something new"), None);
    }

    #[test]
    fn wrong_server_error_names_both_servers() {
        let wrong = WrongServer {
            found: "node b0".to_owned(),
            expected: "node a0".to_owned(),
        };
        let error = wrong.at(&Address::new("a", 1));
        assert!(WrongServer::is_cause_of(&error));
        assert!(!WrongServer::is_cause_of(&CacheError::Closed));
        assert!(
            error
                .to_string()
                .contains("a:1 now leads to node b0, not to node a0"),
            "{error}"
        );
    }
}
