//! Whether the cluster serves, all slots have an owner, and all nodes see the same cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cache_valkey::admin::{ClusterNode, ClusterState, SharedAddress, TopologyView};
use futures::future::join_all;

use super::finding::{Check, Verdict};
use super::patient::Patient;
use crate::SlotSet;

pub(super) const STATE: Check = Check {
    name: "cluster-state",
    why: "a node that holds the cluster for down refuses every call (CLUSTERDOWN)",
};

pub(super) const SLOTS: Check = Check {
    name: "slots",
    why: "keys of a slot that no primary owns can be neither read nor written",
};

pub(super) const EPOCHS: Check = Check {
    name: "epochs",
    why: "nodes that disagree about who owns what send clients back and forth, or let two of them take writes",
};

/// How often nodes are asked that do not agree: news takes a moment to go round.
const LOOKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(400);

const NO_CLUSTER: &str = "this is no cluster";
/// Said of what nobody could be asked: it is no missing permission.
const NO_ANSWER: &str = "no node answers";

pub(super) async fn state(patient: &Patient) -> Verdict {
    if !patient.view.cluster {
        return Verdict::skipped(NO_CLUSTER);
    }
    let nodes: Vec<_> = patient.answering().collect();
    if nodes.is_empty() {
        return Verdict::skipped(NO_ANSWER);
    }
    let states = join_all(nodes.iter().map(|node| node.member.cluster_state())).await;
    let states: Vec<(&str, ClusterState)> = nodes
        .iter()
        .zip(states)
        .filter_map(|(node, state)| Some((node.address(), state.ok().flatten()?)))
        .collect();
    let Some((_, first)) = states.first() else {
        return Verdict::not_allowed("CLUSTER INFO");
    };
    let down: Vec<String> = states
        .iter()
        .filter(|(_, state)| !state.ok)
        .map(|(address, state)| {
            format!(
                "{address}: {} slots without an owner, {} of failed nodes",
                SLOTS_IN_ALL.saturating_sub(state.slots_assigned),
                state.slots_failed
            )
        })
        .collect();
    if down.is_empty() {
        return Verdict::ok(format!(
            "ok, by {}; {} nodes, {} primaries with slots",
            super::nodes::counted(states.len()),
            first.nodes,
            first.primaries
        ));
    }
    Verdict::fail(
        format!("held for down by {}", down.join("; ")),
        "bring back the primaries that failed and give owners to slots; with cluster-require-full-coverage no, the \
         other slots are served meanwhile",
    )
}

const SLOTS_IN_ALL: u32 = 16_384;

pub(super) async fn slots(patient: &Patient) -> Verdict {
    if !patient.view.cluster {
        return Verdict::skipped(NO_CLUSTER);
    }
    if let Some(verdict) = shared_addresses(&patient.view) {
        return verdict;
    }
    let uncovered: SlotSet = patient.view.uncovered.iter().cloned().collect();
    if uncovered.is_empty() {
        return Verdict::ok("all 16384 have an owner");
    }
    Verdict::fail(
        format!("nobody owns the slots {uncovered} ({} of 16384)", uncovered.len()),
        "give them to a primary: valkey-cli --cluster fix, or CLUSTER ADDSLOTSRANGE on the one that has their keys",
    )
}

/// What is wrong if several nodes claim one address: no client can choose among them.
pub(super) fn shared_addresses(view: &TopologyView) -> Option<Verdict> {
    let advice = "give each node an address of its own (cluster-announce-hostname, cluster-announce-ip and \
                  cluster-announce-port; a name for all of them, such as that of a service, belongs into CACHE_ADDRS \
                  only), or set cluster-preferred-endpoint-type ip";
    let described = |shared: &&SharedAddress| {
        let nodes: Vec<&str> = shared.nodes.iter().map(|id| id.get(..8).unwrap_or(id)).collect();
        format!(
            "the nodes {} all go by the address {}",
            nodes.join(", "),
            shared.address
        )
    };
    let (serving, others): (Vec<_>, Vec<_>) = view
        .shared_addresses
        .iter()
        .partition(|shared| !shared.slots.is_empty());
    if !serving.is_empty() {
        let slots: SlotSet = serving
            .iter()
            .flat_map(|shared| shared.slots.iter().cloned())
            .collect();
        let nodes: Vec<String> = serving.iter().map(described).collect();
        return Some(Verdict::fail(
            format!(
                "{}; {} of 16384 slots are not served, because a call cannot be sent to the one that owns its slot",
                nodes.join("; "),
                slots.len()
            ),
            advice,
        ));
    }
    let nodes: Vec<String> = others.iter().map(described).collect();
    (!nodes.is_empty()).then(|| {
        Verdict::warn(
            format!("{}; the replicas among them are not used", nodes.join("; ")),
            advice,
        )
    })
}

pub(super) async fn epochs(patient: &Patient) -> Verdict {
    if !patient.view.cluster {
        return Verdict::skipped(NO_CLUSTER);
    }
    if patient.answering().next().is_none() {
        return Verdict::skipped(NO_ANSWER);
    }
    for look in 1.. {
        match opinions(patient).await {
            Some(opinions) if opinions.disagree() && look < LOOKS => tokio::time::sleep(PAUSE).await,
            Some(opinions) => return opinions.verdict(),
            None => break,
        }
    }
    Verdict::not_allowed("CLUSTER INFO and CLUSTER NODES")
}

/// What the nodes think.
struct Opinions {
    /// The cluster's epoch, and who is of that opinion.
    epochs: BTreeMap<u64, Vec<String>>,
    /// Who owns what, and who is of that opinion.
    owners: BTreeMap<BTreeSet<Ownership>, Vec<String>>,
}

/// A primary's id with its ranges.
type Ownership = (String, Vec<(u16, u16)>);

async fn opinions(patient: &Patient) -> Option<Opinions> {
    let nodes: Vec<_> = patient.answering().collect();
    let asked = join_all(nodes.iter().map(async |node| {
        let (state, neighbours) = futures::join!(node.member.cluster_state(), node.member.cluster_nodes());
        (state.ok().flatten(), neighbours.ok().flatten())
    }))
    .await;
    let mut opinions = Opinions {
        epochs: BTreeMap::new(),
        owners: BTreeMap::new(),
    };
    for (node, (state, neighbours)) in nodes.iter().zip(asked) {
        let name = || node.address().to_owned();
        if let Some(state) = state {
            opinions.epochs.entry(state.epoch).or_default().push(name());
        }
        if let Some(neighbours) = neighbours {
            let owned = owned(&neighbours);
            opinions.owners.entry(owned).or_default().push(name());
        }
    }
    (!opinions.epochs.is_empty() || !opinions.owners.is_empty()).then_some(opinions)
}

fn owned(neighbours: &[ClusterNode]) -> BTreeSet<Ownership> {
    let owners = neighbours.iter().filter(|node| !node.slots.is_empty());
    owners
        .map(|node| {
            let ranges = node.slots.iter().map(|range| (*range.start(), *range.end()));
            (node.id.clone(), ranges.collect())
        })
        .collect()
}

impl Opinions {
    fn disagree(&self) -> bool {
        self.epochs.len() > 1 || self.owners.len() > 1
    }

    fn verdict(&self) -> Verdict {
        let advice = "look for a partition: each node must reach the bus port of every other (CLUSTER NODES shows the links)";
        if self.owners.len() > 1 {
            let groups: Vec<String> = self.owners.values().map(|nodes| nodes.join(", ")).collect();
            return Verdict::fail(
                format!(
                    "not of one mind about who owns which slots: {}",
                    groups.join(" against ")
                ),
                advice,
            );
        }
        if self.epochs.len() > 1 {
            let groups: Vec<String> = self
                .epochs
                .iter()
                .map(|(epoch, nodes)| format!("{epoch} ({})", nodes.join(", ")))
                .collect();
            return Verdict::warn(format!("different epochs: {}", groups.join(", ")), advice);
        }
        let nodes = self.epochs.values().chain(self.owners.values()).map(Vec::len);
        let nodes = super::nodes::counted(nodes.max().unwrap_or(0));
        Verdict::ok(match self.epochs.keys().next() {
            Some(epoch) => format!("{nodes} agree: epoch {epoch}, the same owners"),
            None => format!("{nodes} name the same owners"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opinions(epochs: &[(u64, &str)], owners: &[(u16, &str)]) -> Opinions {
        let mut opinions = Opinions {
            epochs: BTreeMap::new(),
            owners: BTreeMap::new(),
        };
        for (epoch, node) in epochs {
            opinions
                .epochs
                .entry(*epoch)
                .or_default()
                .push((*node).to_owned());
        }
        for (end, node) in owners {
            let owned = BTreeSet::from([("id".to_owned(), vec![(0, *end)])]);
            opinions.owners.entry(owned).or_default().push((*node).to_owned());
        }
        opinions
    }

    fn told(opinions: &Opinions) -> (super::super::Health, String) {
        let diagnosis = super::super::Diagnosis::collect([(EPOCHS, opinions.verdict())]);
        (diagnosis.findings[0].state, diagnosis.findings[0].seen.clone())
    }

    #[test]
    fn nodes_that_do_not_agree_are_named() {
        use super::super::Health;
        let (state, seen) = told(&opinions(&[(3, "a:1"), (3, "b:1")], &[(9, "a:1"), (9, "b:1")]));
        assert_eq!(
            (state, seen.as_str()),
            (Health::Ok, "2 nodes agree: epoch 3, the same owners")
        );
        let (state, seen) = told(&opinions(&[(3, "a:1"), (4, "b:1")], &[(9, "a:1"), (9, "b:1")]));
        assert_eq!(state, Health::Warn);
        assert!(seen.contains("3 (a:1), 4 (b:1)"), "{seen}");
        let (state, seen) = told(&opinions(&[(3, "a:1"), (3, "b:1")], &[(9, "a:1"), (8, "b:1")]));
        assert_eq!(state, Health::Fail);
        assert!(seen.contains("b:1 against a:1"), "{seen}");
    }
}
