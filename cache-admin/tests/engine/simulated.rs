//! A cluster without servers: primaries, slots that move between them, and a script of what goes wrong
//! when.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cache_admin::{
    CacheIdentity, Described, Description, Find, KeyAttributes, KeyType, Keys, Layout, ScanPage, Shard,
    SlotSet, Unlinked,
};
use cache_core::slot::{SLOTS, slot_of};
use cache_core::{CacheError, Outcome, Ttl, Unavailability};

/// A cluster, or one server, that does what servers do to keys and slots.
#[derive(Clone, Debug)]
pub(crate) struct Simulated(Arc<Mutex<World>>);

#[derive(Debug)]
pub(crate) struct World {
    nodes: Vec<Node>,
    owners: Vec<Option<usize>>,
    /// The same by primary, as it was last asked for.
    slots: Option<Vec<SlotSet>>,
    /// Slots that are handed over key by key, and to whom.
    migrating: HashMap<u16, usize>,
    clustered: bool,
    /// Calls that were made: scans, removals, layouts.
    pub(crate) calls: u64,
    /// Primaries that were scanned, by address.
    pub(crate) scanned: Vec<String>,
    script: Vec<(u64, Change)>,
    layouts_fail: bool,
    cache: CacheIdentity,
    /// How many keys each page was asked for.
    pub(crate) counts: Vec<u32>,
    /// The slot that each page began at, of servers that walk slot by slot.
    pub(crate) began: Vec<u16>,
    /// They say that they walk slot by slot and do not.
    lies: bool,
    /// How many keys were drawn at random.
    pub(crate) drawn: usize,
    /// A removal that names this key is never answered.
    pub(crate) swallows: Option<Bytes>,
    /// How long a page and a removal take, in virtual time. Calls to one primary do not wait for each other.
    pub(crate) scan_takes: Duration,
    pub(crate) unlink_takes: Duration,
}

#[derive(Debug)]
struct Node {
    address: String,
    up: bool,
    denies: bool,
    keeps: bool,
    /// By the place in this process's own order.
    keys: BTreeMap<u64, Bytes>,
    seed: u64,
    /// Greater than all others from when it was last given a slot by another one.
    epoch: u64,
    /// Keeps the keys of a slot together, in ascending order.
    by_slot: bool,
}

/// Something that happens to the cluster.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A slot changes its owner at once, keys and all.
    Move { slot: u16, to: usize },
    /// A slot begins to move key by key.
    Begin { slot: u16, to: usize },
    /// One key of a moving slot hops.
    Hop { slot: u16, nth: usize },
    /// The rest hops, and the slot has its new owner.
    End { slot: u16 },
    /// A primary stops answering.
    Stop(usize),
    /// It answers again.
    Start(usize),
    /// A replica with the same keys takes over, under another address and with an order of its own.
    FailOver(usize),
    /// It is started anew with the same keys, under the same address and with an order of its own.
    Restart(usize),
    /// A primary without slots joins.
    Join,
    /// The user may not scan there.
    Deny(usize),
    /// The user may not remove there.
    Keep(usize),
    /// A key is written by somebody else.
    Write(Bytes),
    /// Nobody tells the layout any more.
    Silence,
    /// The addresses lead to another cache, with the same slots and keys.
    Replace(CacheIdentity),
}

/// Where the slot stands in a cursor of servers that walk slot by slot.
const SLOT_SHIFT: u32 = 48;

impl Node {
    fn new(number: usize, seed: u64) -> Self {
        let address = format!("10.0.0.{}:6379", number + 1);
        Self {
            address,
            up: true,
            denies: false,
            keeps: false,
            keys: BTreeMap::new(),
            seed,
            epoch: seed + 1,
            by_slot: false,
        }
    }

    fn place(&self, key: &[u8]) -> u64 {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((self.seed, key));
        if self.by_slot {
            return ((u64::from(slot_of(key)) << SLOT_SHIFT) | (hash >> 16)).max(1);
        }
        hash.max(1)
    }

    fn put(&mut self, key: Bytes) {
        self.keys.insert(self.place(&key), key);
    }

    fn take(&mut self, key: &[u8]) -> Option<Bytes> {
        self.keys.remove(&self.place(key))
    }

    fn holds(&self, key: &[u8]) -> bool {
        self.keys.contains_key(&self.place(key))
    }

    fn of_slot(&self, slot: u16) -> Vec<Bytes> {
        self.keys
            .values()
            .filter(|key| slot_of(key) == slot)
            .cloned()
            .collect()
    }

    fn answer(&self) -> Result<(), CacheError> {
        if self.up {
            return Ok(());
        }
        Err(CacheError::Unavailable {
            reason: Unavailability::Connect,
            detail: self.address.clone().into(),
            outcome: Outcome::NotApplied,
            source: None,
        })
    }
}

impl Simulated {
    /// A cluster of `primaries`, slots shared out evenly.
    pub(crate) fn cluster(primaries: usize) -> Self {
        let share = usize::from(SLOTS).div_ceil(primaries);
        let owners = (0..usize::from(SLOTS)).map(|slot| Some(slot / share)).collect();
        Self::of(primaries, owners, true)
    }

    /// One server.
    pub(crate) fn single() -> Self {
        Self::of(1, vec![Some(0); usize::from(SLOTS)], false)
    }

    fn of(primaries: usize, owners: Vec<Option<usize>>, clustered: bool) -> Self {
        let nodes = (0_u64..)
            .zip(0..primaries)
            .map(|(seed, number)| Node::new(number, seed))
            .collect();
        Self(Arc::new(Mutex::new(World {
            nodes,
            owners,
            slots: None,
            migrating: HashMap::new(),
            clustered,
            calls: 0,
            scanned: Vec::new(),
            script: Vec::new(),
            layouts_fail: false,
            cache: CacheIdentity::cluster(["n1", "n2", "n3"].map(str::to_owned)),
            counts: Vec::new(),
            began: Vec::new(),
            lies: false,
            drawn: 0,
            swallows: None,
            scan_takes: Duration::ZERO,
            unlink_takes: Duration::ZERO,
        })))
    }

    /// Makes the servers walk slot by slot, as Valkey 8 does. Before there are keys.
    pub(crate) fn by_slot(self) -> Self {
        for node in &mut self.world().nodes {
            node.by_slot = true;
        }
        self
    }

    /// Makes the servers claim that they walk slot by slot.
    pub(crate) fn lying(self) -> Self {
        self.world().lies = true;
        self
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores `keys` where they belong.
    pub(crate) fn with_keys<K: Into<Bytes>>(self, keys: impl IntoIterator<Item = K>) -> Self {
        let mut world = self.world();
        for key in keys {
            world.write(key.into());
        }
        drop(world);
        self
    }

    /// Stores a key with a primary that does not serve its slot.
    pub(crate) fn with_orphan(self, node: usize, key: &'static str) -> Self {
        self.world().nodes[node].put(Bytes::from(key));
        self
    }

    /// Does `change` once `calls` calls were made.
    pub(crate) fn at(self, calls: u64, change: Change) -> Self {
        self.world().script.push((calls, change));
        self
    }

    /// Does `change` now.
    pub(crate) fn now(&self, change: Change) {
        self.world().apply(change);
    }

    /// The keys that clients can reach, and those they could if all primaries answered.
    pub(crate) fn reachable(&self) -> Vec<Bytes> {
        let world = self.world();
        let mut keys = Vec::new();
        for (number, node) in world.nodes.iter().enumerate() {
            for key in node.keys.values() {
                let slot = slot_of(key);
                if world.owners[usize::from(slot)] == Some(number)
                    || world.migrating.get(&slot) == Some(&number)
                {
                    keys.push(key.clone());
                }
            }
        }
        keys.sort();
        keys
    }

    /// How many keys each primary holds, reachable or not.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.world().nodes.iter().map(|node| node.keys.len()).collect()
    }

    fn shard(&self, number: usize) -> Arc<dyn Shard> {
        let address = self.world().nodes[number].address.clone();
        let by_slot = self.world().nodes[number].by_slot || self.world().lies;
        let epoch = self.world().nodes[number].epoch;
        Arc::new(OneNode {
            world: self.clone(),
            address,
            epoch,
            by_slot,
            cache: self.world().cache.clone(),
        })
    }
}

impl World {
    pub(crate) fn owner_of(&self, slot: u16) -> Option<usize> {
        self.owners[usize::from(slot)]
    }

    fn write(&mut self, key: Bytes) {
        if let Some(owner) = self.owner_of(slot_of(&key)) {
            self.nodes[owner].put(key);
        }
    }

    fn tick(&mut self) {
        self.calls += 1;
        let calls = self.calls;
        let (now, later) = std::mem::take(&mut self.script)
            .into_iter()
            .partition(|(at, _)| *at <= calls);
        self.script = later;
        let now: Vec<(u64, Change)> = now;
        for (_, change) in now {
            self.apply(change);
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            // One handover at a time: giving one up half-way would leave orphans, which no client can reach.
            Change::Move { slot, .. } if self.migrating.contains_key(&slot) => {}
            Change::Move { slot, to } => self.hand_over(slot, to),
            Change::Begin { slot, to } => {
                if self.owner_of(slot).is_some_and(|owner| owner != to) {
                    self.migrating.entry(slot).or_insert(to);
                }
            }
            Change::Hop { slot, nth } => {
                if let (Some(from), Some(&to)) = (self.owner_of(slot), self.migrating.get(&slot)) {
                    let keys = self.nodes[from].of_slot(slot);
                    if !keys.is_empty() {
                        self.hop(&keys[nth % keys.len()], from, to);
                    }
                }
            }
            Change::End { slot } => {
                if let Some(to) = self.migrating.remove(&slot) {
                    self.hand_over(slot, to);
                }
            }
            Change::Stop(node) => self.nodes[node].up = false,
            Change::Start(node) => self.nodes[node].up = true,
            Change::FailOver(node) => {
                // No two of them have the same address.
                let seed = self.nodes[node].seed + 1_000;
                let mut replica = Node::new(usize::try_from(seed).unwrap_or(usize::MAX), seed);
                replica.by_slot = self.nodes[node].by_slot;
                replica.epoch = self.greatest_epoch() + 1;
                let old = std::mem::replace(&mut self.nodes[node], replica);
                for key in old.keys.into_values() {
                    self.nodes[node].put(key);
                }
            }
            Change::Restart(node) => {
                let keys = std::mem::take(&mut self.nodes[node].keys);
                self.nodes[node].seed += 1_000_000;
                for key in keys.into_values() {
                    self.nodes[node].put(key);
                }
            }
            Change::Join => {
                let number = self.nodes.len();
                let mut node = Node::new(number + 200, u64::try_from(number).unwrap_or(0) + 500);
                node.epoch = 0;
                self.slots = None;
                node.by_slot = self.nodes[0].by_slot;
                self.nodes.push(node);
            }
            Change::Deny(node) => self.nodes[node].denies = true,
            Change::Keep(node) => self.nodes[node].keeps = true,
            Change::Write(key) => self.write(key),
            Change::Silence => self.layouts_fail = true,
            Change::Replace(cache) => self.cache = cache,
        }
    }

    fn hop(&mut self, key: &Bytes, from: usize, to: usize) {
        if let Some(key) = self.nodes[from].take(key) {
            self.nodes[to].put(key);
        }
    }

    fn hand_over(&mut self, slot: u16, to: usize) {
        if let Some(from) = self.owner_of(slot) {
            for key in self.nodes[from].of_slot(slot) {
                self.hop(&key, from, to);
            }
        }
        if self.owner_of(slot) == Some(to) {
            return;
        }
        self.owners[usize::from(slot)] = Some(to);
        self.slots = None;
        // As servers do: the one that has the greatest already keeps it.
        if self.nodes[to].epoch < self.greatest_epoch() {
            self.nodes[to].epoch = self.greatest_epoch() + 1;
        }
    }

    fn greatest_epoch(&self) -> u64 {
        self.nodes.iter().map(|node| node.epoch).max().unwrap_or(0)
    }

    /// Who serves what, by primary.
    fn slots(&mut self) -> Vec<SlotSet> {
        let slots = self.slots.get_or_insert_with(|| {
            let mut slots = vec![SlotSet::new(); self.nodes.len()];
            for (slot, owner) in (0..).zip(&self.owners) {
                if let Some(owner) = owner {
                    slots[*owner].insert(slot);
                }
            }
            slots
        });
        slots.clone()
    }

    /// Whether `key` was there.
    fn unlink_anywhere(&mut self, key: &Bytes) -> Result<bool, CacheError> {
        let slot = slot_of(key);
        let Some(owner) = self.owner_of(slot) else {
            return Ok(false);
        };
        self.nodes[owner].answer()?;
        if self.nodes[owner].take(key).is_some() {
            return Ok(true);
        }
        let Some(&to) = self.migrating.get(&slot) else {
            return Ok(false);
        };
        self.nodes[to].answer()?;
        Ok(self.nodes[to].take(key).is_some())
    }

    fn node(&self, address: &str) -> Result<usize, CacheError> {
        let number = self.nodes.iter().position(|node| node.address == address);
        let gone = || CacheError::Unavailable {
            reason: Unavailability::Connect,
            detail: address.to_owned().into(),
            outcome: Outcome::NotApplied,
            source: None,
        };
        let number = number.ok_or_else(gone)?;
        self.nodes[number].answer()?;
        Ok(number)
    }
}

#[async_trait]
impl Keys for Simulated {
    async fn layout(&self) -> Result<Layout, CacheError> {
        tokio::task::yield_now().await;
        let (clustered, slots) = {
            let mut world = self.world();
            world.tick();
            if world.layouts_fail {
                return Err(CacheError::Unavailable {
                    reason: Unavailability::Connect,
                    detail: "no node answers".into(),
                    outcome: Outcome::NotApplied,
                    source: None,
                });
            }
            (world.clustered, world.slots())
        };
        if !clustered {
            return Ok(Layout::Whole(self.shard(0)));
        }
        Ok(Layout::Slots(
            slots
                .into_iter()
                .enumerate()
                .map(|(number, slots)| (self.shard(number), slots))
                .collect(),
        ))
    }

    async fn unlink_anywhere(&self, keys: &[Bytes]) -> Unlinked {
        tokio::task::yield_now().await;
        let mut world = self.world();
        world.tick();
        let mut unlinked = Unlinked::default();
        for key in keys {
            match world.unlink_anywhere(key) {
                Ok(removed) => unlinked.removed += u64::from(removed),
                Err(error) => {
                    let (failed, last) = unlinked.failed.get_or_insert_with(|| (Vec::new(), error.clone()));
                    failed.push(key.clone());
                    *last = error;
                }
            }
        }
        unlinked
    }

    async fn describe_anywhere(
        &self,
        keys: &[Bytes],
        _: KeyAttributes,
    ) -> Result<Vec<Option<Description>>, CacheError> {
        tokio::task::yield_now().await;
        let mut world = self.world();
        world.tick();
        let mut described = Vec::new();
        for key in keys {
            let slot = slot_of(key);
            let holders = [world.owner_of(slot), world.migrating.get(&slot).copied()];
            let mut found = None;
            for node in holders.into_iter().flatten() {
                world.nodes[node].answer()?;
                found = found.or_else(|| world.nodes[node].holds(key).then(|| describe(key)));
            }
            described.push(found);
        }
        Ok(described)
    }
}

/// What there is to know of a key is in its name: `hash` and `short` stand for themselves.
fn describe(key: &[u8]) -> Description {
    let says = |word: &[u8]| key.windows(word.len()).any(|part| part == word);
    let lives = std::time::Duration::from_secs(if says(b"short") { 5 } else { 500 });
    Description {
        kind: Some(if says(b"hash") {
            KeyType::Hash
        } else {
            KeyType::String
        }),
        ttl: Some(if says(b"forever") {
            Ttl::Forever
        } else {
            Ttl::After(lives)
        }),
        size: u64::try_from(key.len()).ok(),
        idle: None,
    }
}

async fn travel(takes: Duration) {
    if takes.is_zero() {
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(takes).await;
    }
}

#[derive(Debug)]
struct OneNode {
    world: Simulated,
    address: String,
    epoch: u64,
    by_slot: bool,
    cache: CacheIdentity,
}

#[async_trait]
impl Shard for OneNode {
    fn address(&self) -> &str {
        &self.address
    }

    fn cache(&self) -> &CacheIdentity {
        &self.cache
    }

    fn epoch(&self) -> Option<u64> {
        self.world.world().clustered.then_some(self.epoch)
    }

    fn start_of(&self, slot: u16) -> Option<u64> {
        self.by_slot.then(|| u64::from(slot) << SLOT_SHIFT)
    }

    fn slot_at(&self, cursor: u64) -> Option<u16> {
        // That of a liar may be anything.
        let slot = u16::try_from((cursor >> SLOT_SHIFT) % u64::from(SLOTS)).ok();
        slot.filter(|_| self.by_slot)
    }

    async fn scan(&self, cursor: u64, find: Find<'_>) -> Result<ScanPage, CacheError> {
        let takes = self.world.world().scan_takes;
        travel(takes).await;
        let mut world = self.world.world();
        world.tick();
        let number = world.node(&self.address)?;
        world.scanned.push(self.address.clone());
        world.counts.push(find.count);
        world.began.extend(self.slot_at(cursor));
        let node = &world.nodes[number];
        if node.denies {
            return Err(CacheError::Denied {
                command: "SCAN".into(),
                detail: "no permission".into(),
            });
        }
        let count = usize::try_from(find.count).unwrap_or(usize::MAX);
        let page: Vec<_> = node.keys.range(cursor..).take(count).collect();
        let next = match page.last() {
            Some((place, _)) if page.len() == count => place.checked_add(1).unwrap_or(0),
            _ => 0,
        };
        let keys = page
            .into_iter()
            .map(|(_, key)| key)
            .filter(|key| find.pattern.matches(key))
            .filter(|key| find.kind.is_none() || find.kind == describe(key).kind)
            .cloned()
            .collect();
        Ok(ScanPage { cursor: next, keys })
    }

    async fn unlink(&self, keys: &[Bytes]) -> Unlinked {
        let takes = self.world.world().unlink_takes;
        travel(takes).await;
        let swallowed = self.world.world().swallows.clone();
        if swallowed.is_some_and(|key| keys.contains(&key)) {
            std::future::pending::<()>().await;
        }
        let mut world = self.world.world();
        world.tick();
        let number = match world.node(&self.address) {
            Ok(number) => number,
            Err(error) => return Unlinked::failed(keys.to_vec(), error),
        };
        if world.nodes[number].keeps {
            let refusal = CacheError::Denied {
                command: "UNLINK".into(),
                detail: "no permission".into(),
            };
            return Unlinked::failed(keys.to_vec(), refusal);
        }
        let mut unlinked = Unlinked::default();
        for key in keys {
            let slot = slot_of(key);
            if world.clustered && world.owner_of(slot) != Some(number) {
                unlinked.moved.push(key.clone());
            } else if world.nodes[number].take(key).is_some() {
                unlinked.removed += 1;
            } else if world.migrating.contains_key(&slot) {
                unlinked.moved.push(key.clone());
            }
        }
        unlinked
    }

    async fn describe(&self, keys: &[Bytes], _: KeyAttributes) -> Result<Vec<Described>, CacheError> {
        tokio::task::yield_now().await;
        let mut world = self.world.world();
        world.tick();
        let number = world.node(&self.address)?;
        Ok(keys
            .iter()
            .map(|key| {
                let slot = slot_of(key);
                if world.clustered && world.owner_of(slot) != Some(number) {
                    Described::Elsewhere
                } else if world.nodes[number].holds(key) {
                    Described::Here(describe(key))
                } else if world.migrating.contains_key(&slot) {
                    Described::Elsewhere
                } else {
                    Described::Gone
                }
            })
            .collect())
    }

    async fn incarnation(&self) -> Result<Option<String>, CacheError> {
        let world = self.world.world();
        let number = world.node(&self.address)?;
        Ok(Some(world.nodes[number].seed.to_string()))
    }

    async fn ping(&self) -> Result<(), CacheError> {
        self.world.world().node(&self.address).map(drop)
    }

    async fn random_keys(&self, draws: usize) -> Result<Vec<Bytes>, CacheError> {
        use rand::seq::IndexedRandom as _;

        tokio::task::yield_now().await;
        let mut world = self.world.world();
        world.drawn += draws;
        let number = world.node(&self.address)?;
        let keys: Vec<&Bytes> = world.nodes[number].keys.values().collect();
        let mut random = rand::rng();
        let draw = |_| keys.choose(&mut random).map(|key| Bytes::clone(key));
        Ok((0..draws).filter_map(draw).collect())
    }

    async fn key_count(&self) -> Result<u64, CacheError> {
        tokio::task::yield_now().await;
        let world = self.world.world();
        let number = world.node(&self.address)?;
        Ok(u64::try_from(world.nodes[number].keys.len()).unwrap_or(u64::MAX))
    }
}
