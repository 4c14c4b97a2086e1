//! What a cluster looks like to one of its nodes (`CLUSTER NODES`), read only.

use std::ops::RangeInclusive;

use anyhow::{Context as _, Result};

use crate::server::Server;

/// One node as another sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The cluster's name of it.
    pub id: String,
    /// Whether it is a primary.
    pub primary: bool,
    /// Whether it is held for dead, or suspected to be.
    pub failing: bool,
    /// Whether the acquaintance is still being made.
    pub handshake: bool,
    /// For a replica: the name of its primary.
    pub follows: Option<String>,
    /// The slots it owns.
    pub slots: Vec<RangeInclusive<u16>>,
}

/// All nodes as one of them sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    members: Vec<Member>,
}

impl Topology {
    /// Every node known.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The node of that name.
    #[must_use]
    pub fn member(&self, id: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// The node that owns a slot.
    #[must_use]
    pub fn owner(&self, slot: u16) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| member.slots.iter().any(|range| range.contains(&slot)))
    }

    /// The replicas of the primary of that name.
    pub fn replicas<'a>(&'a self, primary: &'a str) -> impl Iterator<Item = &'a Member> {
        self.members
            .iter()
            .filter(move |member| member.follows.as_deref() == Some(primary))
    }

    /// Whether both know the same nodes, in the same roles, with the same slots.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        self.members.len() == other.members.len()
            && self.members.iter().all(|mine| {
                other.member(&mine.id).is_some_and(|theirs| {
                    (mine.primary, &mine.follows, &mine.slots)
                        == (theirs.primary, &theirs.follows, &theirs.slots)
                })
            })
    }
}

/// Asks one node.
pub(super) async fn of(node: &Server) -> Result<Topology> {
    parse(&node.call(&["CLUSTER", "NODES"]).await?.text())
}

fn parse(text: &str) -> Result<Topology> {
    let members = text
        .lines()
        .map(|line| member(line).with_context(|| format!("not a node: {line:?}")));
    Ok(Topology {
        members: members.collect::<Result<_>>()?,
    })
}

fn member(line: &str) -> Option<Member> {
    // <id> <address> <flags> <primary> <ping> <pong> <epoch> <link> <slot> ...
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [id, _, flags, follows, _, _, _, _, slots @ ..] = &fields[..] else {
        return None;
    };
    let flag = |name: &str| flags.split(',').any(|flag| flag == name);
    // Slots on the move follow in brackets; they still belong to their owner.
    let slots = slots.iter().filter(|slot| !slot.starts_with('['));
    let slots = slots.map(|slot| {
        let (first, last) = slot.split_once('-').unwrap_or((slot, slot));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    Some(Member {
        id: (*id).to_owned(),
        primary: flag("master"),
        failing: flag("fail") || flag("fail?"),
        handshake: flag("handshake"),
        follows: (*follows != "-").then(|| (*follows).to_owned()),
        slots: slots.collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_replicas_and_slots_on_the_move_are_told_apart() {
        let topology = parse(concat!(
            "a1 127.0.0.1:1@2 myself,master - 0 0 1 connected 0-5460 7000 [5460->-b2]\n",
            "b2 127.0.0.1:3@4 master,fail? - 0 0 2 connected 5461-6999\n",
            "c3 127.0.0.1:5@6,host.test slave a1 0 0 1 connected\n",
        ))
        .unwrap();
        assert_eq!(topology.owner(5460).unwrap().id, "a1");
        assert_eq!(topology.owner(7000).unwrap().id, "a1");
        assert!(topology.owner(6000).unwrap().failing);
        assert_eq!(topology.owner(7001), None);
        assert_eq!(
            topology.replicas("a1").map(|m| m.id.as_str()).collect::<Vec<_>>(),
            ["c3"]
        );
    }

    #[test]
    fn two_views_agree_where_roles_and_slots_are_the_same() {
        let before = parse("a1 - master - 0 0 1 connected 0-9\nb2 - slave a1 0 0 1 connected\n").unwrap();
        let elsewhere =
            parse("b2 - myself,slave a1 5 5 9 connected\na1 - master - 0 0 1 connected 0-9\n").unwrap();
        let returned =
            parse("a1 - myself,master - 0 0 1 connected 0-9\nb2 - master - 0 0 2 connected\n").unwrap();
        assert!(before.agrees_with(&elsewhere));
        assert!(!before.agrees_with(&returned));
    }
}
