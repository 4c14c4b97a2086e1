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

use super::known_cluster::{Decision, KnownCluster};
use super::members::Members;
use super::report::Report;
use super::retry::{Failure, RetryState, Step};
use super::state::State;
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
    known_cluster: KnownCluster,
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

fn refusal(code: &str, detail: String) -> Result<u64, CallError> {
    let code = code.to_owned();
    Err(CallError::Refused(ServerError { code, detail }))
}

enum CallError {
    Refused(ServerError),
    Transport(CacheError),
}

fn transport(reason: Unavailability, outcome: Outcome) -> CallError {
    CallError::Transport(CacheError::Unavailable {
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
            known_cluster: KnownCluster::default(),
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
            3 => self.ensure_refreshing(node),
            _ => self.heard[node] = self.truth.clone(),
        }
    }

    /// A primary dies and one of its replicas takes its place, before anybody else hears of it.
    fn fail_over(&mut self, node: usize) {
        let promoted =
            (0..NODES).find(|other| self.alive[*other] && self.truth.replica_of[*other] == Some(node));
        let Some(promoted) = promoted.filter(|_| self.alive[node]) else {
            return;
        };
        self.alive[node] = false;
        self.truth.epoch += 1;
        for piece in 0..PIECES {
            if self.truth.owners[piece] == node {
                self.truth.owners[piece] = promoted;
                // What had arrived elsewhere is there to stay; the rest of the move is forgotten.
                if let Some((to, true)) = self.moving[piece].take() {
                    self.truth.owners[piece] = to;
                }
            } else if self.moving[piece].is_some_and(|(to, _)| to == node) {
                self.moving[piece] = None;
            }
        }
        self.truth.replica_of[promoted] = None;
        self.truth.replica_of[node] = Some(promoted);
        self.heard[promoted] = self.truth.clone();
    }

    fn ensure_refreshing(&mut self, node: usize) {
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
    fn serve(&mut self, node: usize, piece: usize, asking: bool, effect: Effect) -> Result<u64, CallError> {
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
    fn discover(&mut self, state: &mut State<Address>) {
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
        if let Decision::Accepted { topology, .. } = self.known_cluster.judge(reports, None, self.now) {
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
            self.ensure_refreshing(node);
            self.heard[node] = self.truth.clone();
        }
        self.now += Duration::from_secs(5);
    }
}

struct Ended {
    result: Result<u64, CallError>,
    sends: u32,
    may_be_done: bool,
}

fn end(result: Result<u64, CallError>, sends: u32, retry: &RetryState) -> Ended {
    let may_be_done = retry.may_be_done();
    Ended {
        result,
        sends,
        may_be_done,
    }
}

/// One call, with the world turning between its tries.
fn call(world: &mut World, state: &mut State<Address>, piece: usize, effect: Effect) -> Ended {
    let mut retry = RetryState::new(effect, false, MAX_RETRIES);
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
        let failure = match &result {
            Ok(_) => return end(result, sends, &retry),
            Err(CallError::Refused(error)) => Failure::of_refusal(error, &node).expect("a failure"),
            Err(CallError::Transport(error)) => Failure::of_failure(error),
        };
        if let Failure::Moved { slot, to: Some(to) } = &failure {
            state.moved(*slot, to, world.now);
        }
        match retry.next(&failure) {
            Step::Stop => return end(result, sends, &retry),
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
        if failure.hint().is_some() && world.random.random() {
            world.discover(state);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn calls_end_correctly_and_topology_converges(seed in any::<u64>()) {
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
        world.discover(&mut state);
        for piece in 0..PIECES {
            let first = call(&mut world, &mut state, piece, Effect::Read);
            prop_assert!(first.result.is_ok());
            prop_assert!(first.sends <= 2, "piece {} took {}", piece, first.sends);
            let second = call(&mut world, &mut state, piece, Effect::Read);
            prop_assert_eq!(second.sends, 1);
        }
    }
}
