//! Whether every primary answers, and whether every replica follows its own.

use std::time::Duration;

use cache_core::CacheError;
use cache_valkey::admin::Role;

use super::finding::{Check, Verdict};
use super::patient::{Node, Patient};
use crate::overview::of_replica;

pub(super) const PRIMARIES: Check = Check {
    name: "primaries",
    why: "the keys of a primary that does not answer can be neither read nor written until a replica takes over",
};

pub(super) const REPLICAS: Check = Check {
    name: "replicas",
    why: "a replica that does not follow cannot take over without losing writes, and answers reads with old values",
};

/// A replica that is well confirms what it has every second.
const LAG: Duration = Duration::from_secs(5);

/// Of a cache that could not be connected to.
pub(super) fn unknown(error: &CacheError) -> Verdict {
    Verdict::fail(
        error.to_string(),
        "the message says what to change; cachectl -v doctor tells what was tried",
    )
    .unless_explained()
}

pub(super) async fn primaries(patient: &Patient) -> Verdict {
    let primaries: Vec<_> = patient.of_role(Role::Primary).collect();
    let silent: Vec<String> = primaries
        .iter()
        .filter_map(|node| match &node.vitals {
            // Of these auth tells.
            Err(CacheError::Unauthorized { .. }) | Ok(_) => None,
            Err(error) => Some(format!("{}: {error}", node.address())),
        })
        .collect();
    if primaries.is_empty() {
        if let Some(verdict) = super::cluster::shared_addresses(&patient.view) {
            return verdict;
        }
        return Verdict::fail(
            "no primary is known",
            "start one, or let the sentinels or the cluster promote a replica",
        );
    }
    if silent.is_empty() {
        return Verdict::ok(match primaries.as_slice() {
            [one] => format!("{} answers", one.address()),
            all => format!("all {} answer", all.len()),
        });
    }
    let verdict = Verdict::fail(
        silent.join("; "),
        "start it again, or promote a replica (CLUSTER FAILOVER TAKEOVER); cachectl topology shows what it served",
    );
    if silent.len() == primaries.len() {
        // Then what keeps all of them away may have a name already.
        return verdict.unless_explained();
    }
    verdict
}

pub(super) async fn replicas(patient: &Patient) -> Verdict {
    if patient.answering().next().is_none() {
        return Verdict::skipped("no node answers");
    }
    let replicas: Vec<_> = patient.of_role(Role::Replica).collect();
    let mut wrong: Vec<String> = replicas
        .iter()
        .filter(|node| !matches!(node.vitals, Err(CacheError::Unauthorized { .. })))
        .flat_map(|node| {
            let found = of_replica(&node.overview).into_iter();
            found.map(|(_, words)| format!("{} {words}", node.address()))
        })
        .collect();
    // What a primary says of replicas that this client does not know of.
    let mut copying = 0;
    for node in patient.primaries() {
        let vitals = node.vitals.as_ref().ok().and_then(Option::as_ref);
        let seen = vitals.map(|vitals| vitals.replication.replicas.as_slice());
        let seen = seen.unwrap_or_default();
        copying += seen.len();
        for replica in seen {
            if replicas.iter().any(|node| node.address() == replica.address) {
                continue;
            }
            let words = match replica.lag {
                _ if !replica.online => "does not follow yet".to_owned(),
                Some(lag) if lag >= LAG => format!("has confirmed nothing for {} s", lag.as_secs()),
                _ => continue,
            };
            let (replica, primary) = (&replica.address, node.address());
            wrong.push(format!("{replica}, a replica of {primary}, {words}"));
        }
    }
    if !wrong.is_empty() {
        return Verdict::fail(
            wrong.join("; "),
            "look at the replica's log, its network, and repl-backlog-size; INFO replication on both shows how far each is",
        );
    }
    let copied = |primary: &str| {
        let copies = |node: &&Node| node.overview.primary.as_deref() == Some(primary);
        replicas.iter().any(copies)
    };
    let (with, without): (Vec<&str>, Vec<&str>) = patient
        .of_role(Role::Primary)
        .map(Node::address)
        .partition(|address| copied(address));
    if !with.is_empty() && !without.is_empty() {
        return Verdict::warn(
            format!("{} has no replica, unlike others", without.join(", ")),
            "bring back the nodes that failed, or add replicas: if it fails, its keys are gone",
        );
    }
    if replicas.iter().any(|node| matches!(node.vitals, Ok(None))) {
        return Verdict::not_allowed("INFO");
    }
    match replicas.len().max(copying) {
        0 => Verdict::skipped("there are no replicas: keys are gone with their primary"),
        1 => Verdict::ok("1 replica follows"),
        count => Verdict::ok(format!("{count} replicas follow")),
    }
}

/// `1 node`, `6 nodes`.
pub(super) fn counted(nodes: usize) -> String {
    match nodes {
        1 => "1 node".to_owned(),
        nodes => format!("{nodes} nodes"),
    }
}
