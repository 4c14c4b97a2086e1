//! One node of any role, for queries about the node. Each family of queries has its own file in this folder. Queries
//! about keys go through a [`Primary`].

use std::fmt;
use std::sync::Arc;

use cache_core::CacheError;

use super::primary::Kind;
use super::{Administration, NodeView, Primary, TopologyView};
use crate::command::Command;
use crate::reply::Reply;

/// One node, primary or replica, for separate work.
#[derive(Clone)]
pub struct Member {
    view: NodeView,
    /// Sends queries: works the same way as for a primary.
    connection: Primary,
}

impl Administration {
    /// The nodes of `view`, each for separate work, in the same order.
    #[must_use]
    pub fn members_of(&self, view: &TopologyView) -> Vec<Member> {
        let member = |node: &NodeView| Member {
            view: node.clone(),
            connection: Primary {
                address: node.address.clone(),
                expected: node.expected(),
                slots: node.slots.clone(),
                epoch: None,
                kind: Kind::of(view.cluster, &node.server, &node.version),
                bound: None,
                pools: Arc::clone(&self.pools),
                timeout: self.timeout,
            },
        };
        view.nodes.iter().map(member).collect()
    }
}

impl Member {
    /// The node as it was when it was looked up.
    #[must_use]
    pub const fn view(&self) -> &NodeView {
        &self.view
    }

    /// Whether a scan of it goes slot by slot; see [`Primary::scans_by_slot`].
    #[must_use]
    pub const fn scans_by_slot(&self) -> bool {
        self.connection.scans_by_slot()
    }

    /// Sends `commands` in one round trip.
    pub(super) async fn ask(&self, commands: &[&Command<'_>]) -> Result<Vec<Reply>, CacheError> {
        self.connection.ask(commands).await
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("address", &self.view.address.to_string())
            .field("role", &self.view.role)
            .finish_non_exhaustive()
    }
}
