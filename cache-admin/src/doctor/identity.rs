//! Whether the servers accept who the client is.

use std::collections::BTreeMap;

use cache_core::CacheError;
use futures::future::join_all;

use super::finding::{Check, Verdict};
use super::patient::Patient;

pub(super) const CHECK: Check = Check {
    name: "auth",
    why: "a client whose user or password is refused gets no connection; users are kept by each node for itself",
};

const ADVICE: &str = "check CACHE_USERNAME and CACHE_PASSWORD, and that the user is there, and enabled, on every node \
                      (ACL LIST): users are not replicated";

/// Of a cache that could not be connected to.
pub(super) fn refused(error: &CacheError) -> Verdict {
    match error {
        CacheError::Unauthorized { .. } => Verdict::fail(error.to_string(), ADVICE),
        _ => Verdict::skipped("there is no connection"),
    }
}

/// The error with the node, which most of them name by themselves.
fn named(address: &str, error: &CacheError) -> String {
    let words = error.to_string();
    if words.contains(address) {
        return words;
    }
    format!("{address}: {words}")
}

pub(super) async fn look(patient: &Patient) -> Verdict {
    let refused: Vec<String> = patient
        .nodes
        .iter()
        .filter_map(|node| match &node.vitals {
            Err(error @ CacheError::Unauthorized { .. }) => Some(named(node.address(), error)),
            _ => None,
        })
        .collect();
    if !refused.is_empty() {
        return Verdict::fail(refused.join("; "), ADVICE);
    }
    let nodes: Vec<_> = patient.answering().collect();
    if nodes.is_empty() {
        return Verdict::skipped("no node answers");
    }
    let users = join_all(nodes.iter().map(|node| node.member.user())).await;
    let mut by_name = BTreeMap::<String, usize>::new();
    for user in users.into_iter().filter_map(|user| user.ok().flatten()) {
        *by_name.entry(user).or_default() += 1;
    }
    let names: Vec<String> = by_name.keys().map(|name| format!("`{name}`")).collect();
    Verdict::ok(match names.as_slice() {
        [] => format!("accepted by {}", super::nodes::counted(nodes.len())),
        names => format!(
            "accepted as {} by {}",
            names.join(", "),
            super::nodes::counted(nodes.len())
        ),
    })
}
