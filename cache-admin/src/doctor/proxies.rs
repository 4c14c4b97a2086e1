//! Whether what answers is a proxy that hides its servers.
//!
//! Not in here: proxies that pass everything on. Of those nothing is to be seen, and nothing is lost.

use cache_core::{CacheError, Unavailability};

use super::finding::Verdict;
use super::patient::{Node, Patient};

/// Why other checks are left out.
pub(super) const HIDDEN: &str = "a proxy hides its servers";

/// What to say of the primaries if one is such a proxy; `None` if none is.
pub(super) fn look(patient: &Patient) -> Option<Verdict> {
    let proxies: Vec<&str> = patient
        .nodes
        .iter()
        .filter(|node| is_proxy(node))
        .map(Node::address)
        .collect();
    if proxies.is_empty() {
        return None;
    }
    Some(Verdict::warn(
        format!(
            "{} is a proxy without HELLO, such as twemproxy: it answers PING, and ends the connection when it is asked for INFO",
            proxies.join(", ")
        ),
        "a cache works through it, by RESP2 and without invalidation messages; to see the servers, and for purges by \
         pattern, set CACHE_ADDRS to one of the servers behind it",
    ))
}

/// Whether it said nothing of itself when it was greeted, answers, and ends the connection when it is asked more.
fn is_proxy(node: &Node) -> bool {
    let view = node.member.view();
    let hangs_up = matches!(
        &node.vitals,
        Err(CacheError::Unavailable {
            reason: Unavailability::Lost,
            ..
        })
    );
    view.server.is_empty() && view.reachable && hangs_up
}
