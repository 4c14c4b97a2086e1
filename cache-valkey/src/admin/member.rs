//! One node by itself, whatever its role, for questions about the node. Each kind of question has a file of its
//! own beside this one; what concerns keys is asked of a [`Primary`].

use std::fmt;
use std::sync::Arc;

use cache_core::CacheError;

use super::primary::Kind;
use super::{Administration, NodeView, Primary, TopologyView};
use crate::command::Command;
use crate::reply::Reply;

/// One node by itself, a replica too.
#[derive(Clone)]
pub struct Member {
    view: NodeView,
    /// How it is asked: the same way as a primary.
    door: Primary,
}

impl Administration {
    /// The nodes of `view`, each by itself, in its order.
    #[must_use]
    pub fn members_of(&self, view: &TopologyView) -> Vec<Member> {
        let member = |node: &NodeView| Member {
            view: node.clone(),
            door: Primary {
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
    /// What it looked like when it was looked up.
    #[must_use]
    pub const fn view(&self) -> &NodeView {
        &self.view
    }

    /// Whether a scan of it goes slot by slot; see [`Primary::scans_by_slot`].
    #[must_use]
    pub const fn scans_by_slot(&self) -> bool {
        self.door.scans_by_slot()
    }

    /// One round trip.
    pub(super) async fn ask(&self, commands: &[&Command<'_>]) -> Result<Vec<Reply>, CacheError> {
        self.door.ask(commands).await
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
