//! What all ways of paging have in common: a step of a walk, what is done with the keys, and when it is enough.
//!
//! Not in here: the order in which primaries are walked over ([`by_slot`](super::by_slot),
//! [`by_primary`](super::by_primary)).

use std::collections::HashSet;

use bytes::Bytes;
use cache_core::clock::{self, Instant};
use cache_core::slot::{SLOTS, slot_of};
use cache_core::{Asked, CacheError, Outcome, Unavailability};

use super::position::{Mid, Rest};
use super::primaries::{hash_of, server};
use super::{Listed, Page, PageRequest};
use crate::engine::Stride;
use crate::keys::{Described, Description, Find, KeyAttributes, Keys, ScanPage, Shard};
use crate::{Engine, SlotSet};

/// Keys that are compared with the patterns at once.
const AT_ONCE: usize = 16;

/// Keys that one pipeline asks about.
const CHUNK: usize = 250;

/// Keys that one pipeline asks for, to learn whether their slots are being given away.
const PROBES: usize = 1_000;

/// The least and the most that one step looks at.
const STEP: (u64, u64) = (10, 1_000);

/// Makes one page.
pub(super) struct Pager<'a> {
    pub(super) keys: &'a dyn Keys,
    pub(super) request: &'a PageRequest,
    pub(super) page: Page,
    /// The slots of the patterns, where each has one.
    pub(super) wanted: SlotSet,
    whole: Asked,
    stride: Stride,
    /// What is asked of each key.
    traits: KeyAttributes,
    clustered: bool,
    seen: HashSet<Bytes>,
    /// Steps that were made, and keys they looked at and found.
    steps: u64,
    looked: u64,
    found: u64,
    started: Instant,
}

/// A step that was made.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) page: ScanPage,
    /// How many keys it was to look at.
    count: u32,
}

/// How a walk over one primary went on.
#[derive(Debug)]
pub(super) enum Walk {
    Ended,
    /// There is no room for more; `None` is where it has to begin anew.
    Left(Option<Mid>),
}

/// How paging went on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Every key was listed.
    End,
    /// The page is full.
    Full,
    /// Primaries do not walk slot by slot, as they were said to.
    Disordered,
}

impl<'a> Pager<'a> {
    pub(super) fn new(engine: &'a Engine, request: &'a PageRequest, clustered: bool) -> Self {
        let selection = &request.selection;
        Self {
            keys: &**engine.keys(),
            request,
            page: Page::default(),
            wanted: match selection.slots() {
                Some(slots) if clustered => slots,
                _ => SlotSet::all(),
            },
            whole: selection.whole(),
            stride: Stride::new(1_000),
            traits: joined(request.traits, selection.needs()),
            clustered,
            seen: HashSet::new(),
            steps: 0,
            looked: 0,
            found: 0,
            started: clock::now(),
        }
    }

    /// Whether any primary answered.
    pub(super) const fn has_begun(&self) -> bool {
        self.steps > 0
    }

    /// Whether there is room for a further step. There is for the first, so that every page gets somewhere.
    pub(super) fn has_room(&self) -> bool {
        self.steps == 0
            || self.page.keys.len() < self.request.limit
                && self.page.looked_at < self.request.look
                && clock::now() - self.started < self.request.time
    }

    /// The first slot from `slot` on that is of interest.
    pub(super) fn next_wanted(&self, slot: u16) -> Option<u16> {
        (slot..SLOTS).find(|slot| self.wanted.contains(*slot))
    }

    /// Walks over a primary, from its start or the middle, to the end of the slot `end`, and takes the keys of
    /// those slots that are to be kept.
    pub(super) async fn walk(
        &mut self,
        shard: &dyn Shard,
        start: u64,
        mid: Option<Mid>,
        end: Option<u16>,
        keep: &(dyn Fn(u16) -> bool + Send + Sync),
    ) -> Result<Walk, CacheError> {
        let server = server(shard).await?;
        let mid = mid.filter(|mid| mid.server == server);
        let mut cursor = mid.map_or(start, |mid| mid.cursor);
        let mut rest = mid.and_then(|mid| mid.rest);
        let mut is_one_step = mid.is_none();
        loop {
            let step = self.step(shard, cursor, rest).await?;
            let next = step.page.cursor;
            rest = self.take(shard, step, rest, end, keep).await?;
            if rest.is_some() {
                let mid = Mid { server, cursor, rest };
                let is_still = self.is_still(shard, server).await?;
                return Ok(Walk::Left(is_still.then_some(mid)));
            }
            cursor = next;
            let is_past = matches!((end, shard.slot_at(cursor)), (Some(end), Some(slot)) if slot > end);
            let ended = cursor == 0 || is_past;
            if !ended && self.has_room() {
                is_one_step = false;
                continue;
            }
            if ended && is_one_step {
                return Ok(Walk::Ended);
            }
            return Ok(match self.is_still(shard, server).await? {
                true if ended => Walk::Ended,
                true => Walk::Left(Some(Mid { server, cursor, rest })),
                false => Walk::Left(None),
            });
        }
    }

    /// Whether it is still the same run of the same server, so that what it said of cursors holds.
    pub(super) async fn is_still(&self, shard: &dyn Shard, known: u64) -> Result<bool, CacheError> {
        Ok(server(shard).await? == known)
    }

    /// One step of a walk; the step of `rest` again, if an earlier page took a part of it. A connection that was cut
    /// since it was last used is no reason to fail; after a timeout it is asked once more, for fewer keys.
    pub(super) async fn step(
        &mut self,
        shard: &dyn Shard,
        cursor: u64,
        rest: Option<Rest>,
    ) -> Result<Step, CacheError> {
        let mut count = match rest {
            Some(rest) => rest.count.clamp(1, self.stride.keys().max(1)),
            None => self.count(),
        };
        let page = match self.scan(shard, cursor, count).await {
            Err(CacheError::Unavailable { .. }) => self.scan(shard, cursor, count).await?,
            Err(CacheError::Timeout { .. }) if self.stride.timed_out(count) => {
                count = self.count();
                self.scan(shard, cursor, count).await?
            }
            page => page?,
        };
        self.steps += 1;
        let found = u64::try_from(page.keys.len()).unwrap_or(u64::MAX);
        // Servers may look at more than they are asked to, never at fewer keys than they return.
        self.page.looked_at += u64::from(count).max(found);
        if page.cursor != 0 {
            // A step that met the end looked at less than it was to, and says nothing of how dense the keys are.
            self.looked += u64::from(count);
            self.found += found;
        }
        Ok(Step { page, count })
    }

    async fn scan(&mut self, shard: &dyn Shard, cursor: u64, count: u32) -> Result<ScanPage, CacheError> {
        let find = Find {
            pattern: &self.whole.pattern,
            kind: self.request.selection.only_type(),
            count,
        };
        let began = clock::now();
        let page = shard.scan(cursor, find).await?;
        self.stride.took(count, clock::now() - began);
        Ok(page)
    }

    /// How much to look at: as much as will fill the page, going by what was found so far.
    fn count(&self) -> u32 {
        let room = self.request.limit.saturating_sub(self.page.keys.len());
        let room = u64::try_from(room).unwrap_or(u64::MAX);
        let count = match self.found {
            0 => room.saturating_add(self.looked),
            found => room.saturating_mul(self.looked) / found,
        };
        let left = self.request.look.saturating_sub(self.page.looked_at);
        let count = count.min(left).clamp(STEP.0, STEP.1);
        u32::try_from(count).unwrap_or(u32::MAX).min(self.stride.keys())
    }

    /// Puts those keys of a step on the page that are asked for, are of slots that are to be kept, and are not on it
    /// yet. If there is no room for all of them, the answer says where to go on within the step; `rest` is that answer
    /// of an earlier page.
    pub(super) async fn take(
        &mut self,
        shard: &dyn Shard,
        step: Step,
        rest: Option<Rest>,
        end: Option<u16>,
        keep: &(dyn Fn(u16) -> bool + Send + Sync),
    ) -> Result<Option<Rest>, CacheError> {
        let selection = &self.request.selection;
        let mut ranked = Vec::new();
        for (index, key) in step.page.keys.into_iter().enumerate() {
            if index % AT_ONCE == 0 {
                // Many patterns, or long ones: others of this process are not to wait for all of them.
                tokio::task::consume_budget().await;
            }
            let asked_for = self.whole.is_exact || selection.matches(&key);
            if asked_for && keep(self.place_of(&key)) {
                ranked.push((hash_of(&[&key]), key));
            }
        }
        ranked.sort_unstable();
        ranked.dedup();
        let hashes: Vec<[u8; 8]> = ranked.iter().map(|(rank, _)| rank.to_be_bytes()).collect();
        let end = end.map_or(u64::MAX, u64::from);
        let mut left = Rest {
            after: 0,
            count: step.count,
            end: hash_of(&[&step.page.cursor.to_be_bytes(), &end.to_be_bytes()]),
            keys: hash_of(&hashes.iter().map(<[u8; 8]>::as_slice).collect::<Vec<_>>()),
        };
        // Another step than that of the earlier page: what it took is not known. All keys are taken, some again, so that
        // the listing gets past the step.
        let is_same = |rest: &Rest| rest.end == left.end || rest.keys == left.keys;
        let is_other = rest.is_some_and(|rest| !is_same(&rest));
        if let Some(rest) = rest.filter(is_same) {
            ranked.retain(|(rank, _)| *rank > rest.after);
        }
        ranked.retain(|(_, key)| !self.seen.contains(key));
        let limit = if is_other { usize::MAX } else { self.request.limit };
        let mut waiting = &*ranked;
        while !waiting.is_empty() {
            let room = limit.saturating_sub(self.page.keys.len()).clamp(1, CHUNK);
            let mut some = room.min(waiting.len());
            // Keys of one hash go together: the hash says where to go on.
            while some < waiting.len() && waiting[some].0 == waiting[some - 1].0 {
                some += 1;
            }
            let (now, later) = waiting.split_at(some);
            left.after = now[some - 1].0;
            self.put_all(shard, now).await?;
            waiting = later;
            if self.page.keys.len() >= limit {
                break;
            }
        }
        Ok((!waiting.is_empty()).then_some(left))
    }

    /// Puts those of `keys` on the page that pass the filters, described as the request asks.
    async fn put_all(&mut self, shard: &dyn Shard, keys: &[(u64, Bytes)]) -> Result<(), CacheError> {
        let selection = &self.request.selection;
        let keys: Vec<Bytes> = keys.iter().map(|(_, key)| key.clone()).collect();
        if self.traits == KeyAttributes::default() {
            for key in keys {
                self.put(key, Description::default());
            }
            return Ok(());
        }
        for (key, description) in keys.iter().zip(self.describe(shard, &keys).await?) {
            if let Some(description) = description.filter(|key| selection.passes(key)) {
                self.put(key.clone(), description);
            }
        }
        Ok(())
    }

    fn put(&mut self, key: Bytes, description: Description) {
        if self.seen.insert(key.clone()) {
            self.page.keys.push(Listed { key, description });
        }
    }

    async fn describe(
        &self,
        shard: &dyn Shard,
        keys: &[Bytes],
    ) -> Result<Vec<Option<Description>>, CacheError> {
        let described = shard.describe(keys, self.traits).await?;
        let elsewhere = |(_, said): &(&Bytes, &Described)| **said == Described::Elsewhere;
        let elsewhere: Vec<Bytes> = keys
            .iter()
            .zip(&described)
            .filter(elsewhere)
            .map(|(key, _)| key.clone())
            .collect();
        let mut followed = match &*elsewhere {
            [] => Vec::new(),
            elsewhere => self.keys.describe_anywhere(elsewhere, self.traits).await?,
        }
        .into_iter();
        let followed = described.into_iter().map(|said| match said {
            Described::Here(description) => Some(description),
            Described::Gone => None,
            Described::Elsewhere => followed.next().flatten(),
        });
        Ok(followed.collect())
    }

    /// Asks the owner of `slots`, once they were listed, whether it gives any of them away or has done so: what
    /// left it before would be with others. The answer are these. Where the user may not ask, it is taken for no.
    pub(super) async fn restless(
        &mut self,
        owner: &dyn Shard,
        slots: &SlotSet,
    ) -> Result<SlotSet, CacheError> {
        let ask = KeyAttributes {
            kind: true,
            ..KeyAttributes::default()
        };
        let mut restless = SlotSet::new();
        for probes in Engine::probes(&self.whole.pattern, slots).chunks(PROBES) {
            let keys: Vec<Bytes> = probes.iter().map(|(_, key)| key.clone()).collect();
            let said = match owner.describe(&keys, ask).await {
                Err(CacheError::Denied { .. }) => return Ok(restless),
                said => said?,
            };
            self.page.looked_at += u64::try_from(keys.len()).unwrap_or(u64::MAX);
            for ((slot, _), said) in probes.iter().zip(said) {
                if said == Described::Elsewhere {
                    restless.insert(*slot);
                }
            }
        }
        Ok(restless)
    }

    /// Takes in that `slots` cannot be listed, where they may be passed over.
    pub(super) fn pass_over(&mut self, slots: &SlotSet, error: CacheError) -> Result<(), CacheError> {
        if !self.request.past_gaps || !error.is_transient() {
            return Err(error);
        }
        self.page.gaps = self.page.gaps.joined(slots);
        self.page.is_partial = true;
        Ok(())
    }

    fn place_of(&self, key: &[u8]) -> u16 {
        if self.clustered { slot_of(key) } else { 0 }
    }
}

/// That nobody serves a slot.
pub(super) fn unserved(slot: u16) -> CacheError {
    CacheError::Unavailable {
        reason: Unavailability::NotReady,
        detail: format!("slot {slot} is served by nobody").into(),
        outcome: Outcome::NotApplied,
        source: None,
    }
}

fn joined(one: KeyAttributes, two: KeyAttributes) -> KeyAttributes {
    KeyAttributes {
        kind: one.kind || two.kind,
        ttl: one.ttl || two.ttl,
        size: one.size || two.size,
        idle: one.idle || two.idle,
    }
}
