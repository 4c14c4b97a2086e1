//! A cluster in miniature, without sockets, that does to the router's pure parts what clusters do: nodes
//! die and are replaced, slots move key by key, news travels slowly, replies are lost.
//!
//! The property: every call ends, within its bounds, with the right answer or with an error that its kind
//! allows; nothing that must not be done twice is; and when the cluster is quiet again every slot is
//! found with one redirection at most.

use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::config::Address;
use cache_core::slot::SLOTS;
use cache_core::{CacheError, Outcome, Unavailability};
use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::belief::{Belief, Judgement};
use super::journey::{Journey, Setback, Step};
use super::members::Members;
use super::state::State;
use super::survey::Report;
use super::topology::{ClusterNode, ClusterShard, ClusterTopology};
use crate::command::Effect;
use crate::identity::NodeId;
use crate::reply::ServerError;

/// Nodes 0, 1, 2 are primaries at first, and 3, 4, 5 their replicas.
const NODES: usize = 6;

/// Slots come in this many equal pieces, each with one key.
const PIECES: usize = 16;

const MAX_RETRIES: u32 = 3;
const REDIRECTIONS: u32 = 16;

#[derive(Clone)]
struct View {
    epoch: u64,
    owners: [usize; PIECES],
    replica_of: [Option<usize>; NODES],
}

struct World {
    truth: View,
    /// What each node has heard.
    heard: Vec<View>,
    alive: [bool; NODES],
    /// Where a piece is going, and whether its key has arrived there.
    moving: [Option<(usize, bool)>; PIECES],
    /// The counter under each piece's key.
    counters: [u64; PIECES],
    lossy: bool,
    random: SmallRng,
    now: Instant,
    /// The client's.
    belief: Belief,
}

fn address(node: usize) -> Address {
    Address::new(format!("node-{node}"), 6379)
}

fn member(node: usize) -> ClusterNode {
    ClusterNode {
        address: address(node),
        id: NodeId::new(&format!("id-{node}")),
    }
}

fn index(address: &Address) -> usize {
    address.host["node-".len()..].parse().unwrap()
}

fn slot(piece: usize) -> u16 {
    u16::try_from(piece).unwrap() * (SLOTS / 16) + 7
}

fn refusal(code: &str, detail: String) -> Result<u64, Failure> {
    let code = code.to_owned();
    Err(Failure::Refused(ServerError { code, detail }))
}

enum Failure {
    Refused(ServerError),
    Transport(CacheError),
}

fn transport(reason: Unavailability, outcome: Outcome) -> Failure {
    Failure::Transport(CacheError::Unavailable {
        reason,
        detail: "simulated".into(),
        outcome,
        source: None,
    })
}

impl View {
    fn topology(&self) -> ClusterTopology {
        let range = |piece: usize| slot(piece) - 7..=slot(piece) + (SLOTS / 16 - 8);
        let shard = |node: usize| {
            let slots = (0..PIECES).filter(|piece| self.owners[*piece] == node).map(range);
            let replicas = (0..NODES).filter(|other| self.replica_of[*other] == Some(node));
            ClusterShard::new(member(node), replicas.map(member).collect(), slots.collect())
        };
        ClusterTopology {
            epoch: self.epoch,
            shards: (0..NODES)
                .map(shard)
                .filter(|shard| !shard.slots.is_empty())
                .collect(),
            shared: Vec::new(),
        }
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let truth = View {
            epoch: 6,
            owners: std::array::from_fn(|piece| piece % 3),
            replica_of: std::array::from_fn(|node| node.checked_sub(3)),
        };
        Self {
            heard: vec![truth.clone(); NODES],
            truth,
            alive: [true; NODES],
            moving: [None; PIECES],
            counters: [0; PIECES],
            lossy: true,
            random: SmallRng::seed_from_u64(seed),
            now: clock::now(),
            belief: Belief::default(),
        }
    }

    /// Something happens to the cluster.
    fn stir(&mut self) {
        self.now += Duration::from_millis(self.random.random_range(0..400));
        let node = self.random.random_range(0..NODES);
        let piece = self.random.random_range(0..PIECES);
        match self.random.random_range(0..6) {
            0 => self.fail_over(node),
            1 => self.start_move(piece, node),
            2 => self.go_on_moving(piece),
            3 => self.revive(node),
            _ => self.heard[node] = self.truth.clone(),
        }
    }

    /// A primary dies and one of its replicas takes its place, before anybody else hears of it.
    fn fail_over(&mut self, node: usize) {
        let heir = (0..NODES).find(|other| self.alive[*other] && self.truth.replica_of[*other] == Some(node));
        let Some(heir) = heir.filter(|_| self.alive[node]) else {
            return;
        };
        self.alive[node] = false;
        self.truth.epoch += 1;
        for piece in 0..PIECES {
            if self.truth.owners[piece] == node {
                self.truth.owners[piece] = heir;
                // What had arrived elsewhere is there to stay; the rest of the move is forgotten.
                if let Some((to, true)) = self.moving[piece].take() {
                    self.truth.owners[piece] = to;
                }
            } else if self.moving[piece].is_some_and(|(to, _)| to == node) {
                self.moving[piece] = None;
            }
        }
        self.truth.replica_of[heir] = None;
        self.truth.replica_of[node] = Some(heir);
        self.heard[heir] = self.truth.clone();
    }

    fn revive(&mut self, node: usize) {
        if !self.alive[node] {
            self.alive[node] = true;
            self.heard[node] = self.truth.clone();
        }
    }

    fn start_move(&mut self, piece: usize, to: usize) {
        let may = self.alive[to] && self.truth.replica_of[to].is_none() && self.truth.owners[piece] != to;
        if may && self.moving[piece].is_none() {
            self.moving[piece] = Some((to, false));
        }
    }

    fn go_on_moving(&mut self, piece: usize) {
        match self.moving[piece] {
            Some((to, false)) => self.moving[piece] = Some((to, true)),
            Some((to, true)) => {
                let from = std::mem::replace(&mut self.truth.owners[piece], to);
                self.moving[piece] = None;
                self.truth.epoch += 1;
                self.heard[to] = self.truth.clone();
                self.heard[from] = self.truth.clone();
            }
            None => {}
        }
    }

    /// What a node answers; a write adds one to the piece's counter.
    fn serve(&mut self, node: usize, piece: usize, asking: bool, effect: Effect) -> Result<u64, Failure> {
        if !self.alive[node] {
            return Err(if self.random.random() {
                transport(Unavailability::Connect, Outcome::NotApplied)
            } else {
                transport(Unavailability::Lost, Outcome::Unknown)
            });
        }
        if self.lossy && self.random.random_ratio(1, 20) {
            let code = ["CLUSTERDOWN", "LOADING", "TRYAGAIN", "READONLY"][self.random.random_range(0..4)];
            return refusal(code, "simulated".to_owned());
        }
        let owner = self.truth.owners[piece];
        let place = slot(piece);
        let serves = match self.moving[piece] {
            Some((to, true)) if owner == node => {
                return refusal("ASK", format!("{place} {}", address(to)));
            }
            Some((to, arrived)) if to == node => asking && arrived,
            _ => owner == node,
        };
        if !serves {
            let mut owner = self.heard[node].owners[piece];
            if owner == node {
                // A node knows what it does not serve: only others' news reaches it late.
                owner = self.truth.owners[piece];
            }
            return refusal("MOVED", format!("{place} {}", address(owner)));
        }
        if effect != Effect::Read {
            self.counters[piece] += 1;
        }
        if self.lossy && self.random.random_ratio(1, 20) {
            return Err(transport(Unavailability::Lost, Outcome::Unknown));
        }
        Ok(self.counters[piece])
    }

    /// Asks a few nodes how the cluster looks.
    fn survey(&mut self, state: &mut State<Address>) {
        let asked_at = self.now;
        let mut reports = Vec::new();
        for _ in 0..3 {
            let node = self.random.random_range(0..NODES);
            if self.alive[node] {
                reports.push(Report {
                    asked: address(node),
                    ok: true,
                    topology: self.heard[node].topology(),
                });
            }
        }
        if let Judgement::Believed { topology, .. } = self.belief.judge(reports, None, self.now) {
            state.learned(&topology, asked_at, self.now);
        }
    }

    fn quieten(&mut self) {
        self.lossy = false;
        for piece in 0..PIECES {
            self.go_on_moving(piece);
            self.go_on_moving(piece);
        }
        for node in 0..NODES {
            self.revive(node);
            self.heard[node] = self.truth.clone();
        }
        self.now += Duration::from_secs(5);
    }
}

struct Ended {
    result: Result<u64, Failure>,
    sends: u32,
    may_be_done: bool,
}

fn end(result: Result<u64, Failure>, sends: u32, journey: &Journey) -> Ended {
    let may_be_done = journey.may_be_done();
    Ended {
        result,
        sends,
        may_be_done,
    }
}

/// One call, with the world turning between its tries.
fn call(world: &mut World, state: &mut State<Address>, piece: usize, effect: Effect) -> Ended {
    let mut journey = Journey::new(effect, false, MAX_RETRIES);
    let mut node = state
        .table()
        .shard(slot(piece))
        .map(|shard| shard.primary().clone())
        .unwrap();
    let mut asking = false;
    let mut sends = 0;
    loop {
        sends += 1;
        let result = world.serve(index(&node), piece, asking, effect);
        let setback = match &result {
            Ok(_) => return end(result, sends, &journey),
            Err(Failure::Refused(error)) => Setback::of_refusal(error, &node).expect("a setback"),
            Err(Failure::Transport(error)) => Setback::of_failure(error),
        };
        if let Setback::Moved { slot, to: Some(to) } = &setback {
            state.moved(*slot, to, world.now);
        }
        match journey.next(&setback) {
            Step::Stop => return end(result, sends, &journey),
            Step::Follow {
                to,
                asking: ask,
                pause,
            } => {
                world.now += pause;
                asking = ask;
                node = state.node(&to);
            }
            Step::Again { pause } => {
                world.now += pause;
                asking = false;
                node = state
                    .table()
                    .shard(slot(piece))
                    .map(|shard| shard.primary().clone())
                    .unwrap();
            }
        }
        if world.lossy && world.random.random_ratio(1, 4) {
            world.stir();
        }
        if setback.hint().is_some() && world.random.random() {
            world.survey(state);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_calls_end_rightly_and_a_quiet_cluster_is_found_again(seed in any::<u64>()) {
        let mut world = World::new(seed);
        let mut state = State::new(Members::new(|address, _| address.clone(), |_, _| {}), false);
        state.learned(&world.truth.topology(), world.now, world.now);
        for _ in 0..80 {
            if world.random.random() {
                world.stir();
            }
            let piece = world.random.random_range(0..PIECES);
            let effect = [Effect::Read, Effect::Write, Effect::WriteOnce][world.random.random_range(0..3)];
            let before = world.counters[piece];
            let Ended { result, sends, may_be_done } = call(&mut world, &mut state, piece, effect);
            let done = world.counters[piece] - before;
            prop_assert!(sends <= 2 + MAX_RETRIES + REDIRECTIONS);
            prop_assert!(effect != Effect::Read || done == 0);
            prop_assert!(effect != Effect::WriteOnce || done <= 1, "done {} times", done);
            match result {
                Ok(counter) => {
                    prop_assert_eq!(counter, world.counters[piece]);
                    prop_assert!(effect == Effect::Read || done >= 1);
                }
                Err(_) => prop_assert!(done == 0 || may_be_done, "done, and said not to be"),
            }
        }
        world.quieten();
        world.survey(&mut state);
        for piece in 0..PIECES {
            let first = call(&mut world, &mut state, piece, Effect::Read);
            prop_assert!(first.result.is_ok());
            prop_assert!(first.sends <= 2, "piece {} took {}", piece, first.sends);
            let second = call(&mut world, &mut state, piece, Effect::Read);
            prop_assert_eq!(second.sends, 1);
        }
    }
}
