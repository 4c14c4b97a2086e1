//! One visit to one primary: every page of its keys, and what is done with them.
//!
//! Not in here: which primaries are visited, and when again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cache_core::slot::slot_of;
use cache_core::{CacheError, Pattern};
use futures::future;
use tokio::sync::mpsc;

use super::sample::Reservoir;
use super::{Cancel, Counts, Event, Observer};
use crate::SlotSet;
use crate::keys::{Keys, ScanPage, Shard};

/// Tries after the first, of a visit and of each removal, on transient failures.
const RETRIES: u32 = 3;

/// The pause before the first of these; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// What all visits of a run have in common.
pub(super) struct Errand {
    pub(super) keys: Arc<dyn Keys>,
    pub(super) pattern: Pattern,
    pub(super) clustered: bool,
    pub(super) action: Action,
    pub(super) page_size: u32,
    pub(super) cancel: Cancel,
    pub(super) observer: Option<Arc<dyn Observer>>,
}

impl Errand {
    pub(super) fn tell(&self, event: impl FnOnce() -> Event) {
        if let Some(observer) = &self.observer {
            observer.observe(&event());
        }
    }

    /// The slot of `key`; outside of a cluster the one place that there is.
    fn place_of(&self, key: &[u8]) -> u16 {
        if self.clustered { slot_of(key) } else { 0 }
    }

    /// Whether it was told to stop, or nobody reads any more what it lists.
    pub(super) fn is_cancelled(&self) -> bool {
        let unread = matches!(&self.action, Action::List(pages) if pages.is_closed());
        unread || self.cancel.is_cancelled()
    }

    /// Waits until [`is_cancelled`](Self::is_cancelled).
    pub(super) async fn cancelled(&self) {
        match &self.action {
            Action::List(pages) => tokio::select! {
                () = self.cancel.cancelled() => {}
                () = pages.closed() => {}
            },
            _ => self.cancel.cancelled().await,
        }
    }

    pub(super) fn removes(&self) -> bool {
        matches!(self.action, Action::Remove)
    }
}

/// What is done with the keys that match.
pub(super) enum Action {
    /// They are removed.
    Remove,
    /// They are counted and sampled.
    Count(Arc<Mutex<Reservoir>>),
    /// They are handed over.
    List(mpsc::Sender<Vec<Bytes>>),
}

/// What is counted on one primary, over all visits to it.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: Mutex<Counts>,
    /// One more than the number of keys held before; 0 is not known.
    size: AtomicU64,
}

impl Tally {
    pub(super) fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Counts keys that were removed outside of a visit.
    pub(super) fn add_removed(&self, removed: u64) {
        self.change(|counts| {
            counts.matched += removed;
            counts.removed += removed;
        });
    }

    pub(super) fn keys_before(&self) -> Option<u64> {
        self.size.load(Ordering::Relaxed).checked_sub(1)
    }
}

/// Why a visit ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// Told to stop; with the error after which it was going to try again.
    Cancelled(Option<CacheError>),
    Failed(CacheError),
}

impl From<CacheError> for Stop {
    fn from(error: CacheError) -> Self {
        Self::Failed(error)
    }
}

/// One visit to one primary.
pub(super) struct Visit {
    pub(super) errand: Arc<Errand>,
    pub(super) shard: Arc<dyn Shard>,
    pub(super) address: Arc<str>,
    /// The slots that it serves.
    pub(super) own: SlotSet,
    /// The slots whose keys are of interest.
    pub(super) due: Arc<SlotSet>,
    /// The slots that were visited before.
    pub(super) seen: Arc<SlotSet>,
    pub(super) tally: Arc<Tally>,
    /// Whether no visit to this primary came to its end before.
    pub(super) is_first: bool,
    /// Filled by the visit: slots of keys that turned out to be on the move.
    pub(super) restless: SlotSet,
}

impl Visit {
    /// Walks over all keys. Where that breaks off for a transient reason it starts anew a few times, from
    /// the first key: a cursor means nothing to a server that has been restarted or replaced. A primary
    /// that does not even begin to answer is left to a later pass.
    pub(super) async fn run(&mut self) -> Result<(), Stop> {
        self.ask_size().await?;
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        loop {
            let before = self.tally.counts();
            let mut sample = self.own_sample();
            let Err(stop) = self.walk(sample.as_mut()).await else {
                self.hand_in(sample);
                return Ok(());
            };
            let began = self.tally.counts().pages > before.pages;
            if let Stop::Failed(_) = &stop {
                self.take_back(before);
            }
            match stop {
                Stop::Failed(error) if began && error.is_transient() && tries < RETRIES => {
                    self.rest(pause, error).await?;
                }
                stop => return Err(stop),
            }
            tries += 1;
            pause *= 2;
        }
    }

    /// How many keys there are, for the report and as a scale of progress. That the user may not ask is no
    /// reason to fail; that there is no answer is one.
    async fn ask_size(&self) -> Result<(), Stop> {
        if self.tally.keys_before().is_some() {
            return Ok(());
        }
        let keys = tokio::select! {
            keys = self.shard.key_count() => keys,
            () = self.errand.cancelled() => return Err(Stop::Cancelled(None)),
        };
        match keys {
            Ok(keys) => {
                self.tally.size.store(keys.saturating_add(1), Ordering::Relaxed);
                self.errand.tell(|| Event::Size {
                    primary: Arc::clone(&self.address),
                    keys,
                });
                Ok(())
            }
            Err(error) if error.is_transient() => Err(error.into()),
            Err(_) => Ok(()),
        }
    }

    /// A sample of one walk only: what a walk that broke off has met comes again.
    fn own_sample(&self) -> Option<Reservoir> {
        match &self.errand.action {
            Action::Count(sample) => Some(lock(sample).like()),
            _ => None,
        }
    }

    fn hand_in(&self, own: Option<Reservoir>) {
        if let (Action::Count(sample), Some(own)) = (&self.errand.action, own) {
            lock(sample).merge(own);
        }
    }

    async fn walk(&mut self, mut sample: Option<&mut Reservoir>) -> Result<(), Stop> {
        let mut looked_at = 0;
        let mut page = self.page(0).await?;
        loop {
            looked_at += u64::from(self.errand.page_size);
            if page.cursor == 0 {
                self.act(page.keys, sample).await?;
                self.tell_page(self.tally.keys_before().unwrap_or(looked_at));
                return Ok(());
            }
            // The next page is on its way while this one is worked off.
            let (errand, shard) = (Arc::clone(&self.errand), Arc::clone(&self.shard));
            let next = next_page(&errand, &*shard, page.cursor);
            let (acted, next) = future::join(self.act(page.keys, sample.as_deref_mut()), next).await;
            acted?;
            self.tell_page(looked_at);
            page = next?;
        }
    }

    async fn page(&self, cursor: u64) -> Result<ScanPage, Stop> {
        next_page(&self.errand, &*self.shard, cursor).await
    }

    async fn act(&mut self, mut keys: Vec<Bytes>, sample: Option<&mut Reservoir>) -> Result<(), Stop> {
        self.tally.change(|counts| counts.pages += 1);
        let errand = Arc::clone(&self.errand);
        keys.retain(|key| self.due.contains(errand.place_of(key)));
        if keys.is_empty() {
            return Ok(());
        }
        match &errand.action {
            Action::Remove => self.remove(&keys).await,
            Action::Count(_) => {
                self.count(&keys, sample);
                Ok(())
            }
            Action::List(page) => {
                let matched = count(&keys);
                page.send(keys).await.map_err(|_| Stop::Cancelled(None))?;
                self.tally.change(|counts| counts.matched += matched);
                Ok(())
            }
        }
    }

    fn count(&self, keys: &[Bytes], mut sample: Option<&mut Reservoir>) {
        let mut matched = 0;
        for key in keys
            .iter()
            .filter(|key| self.own.contains(self.errand.place_of(key)))
        {
            if let Some(sample) = &mut sample {
                sample.offer(key);
            }
            matched += 1;
        }
        let orphans = count(keys) - matched;
        self.tally.change(|counts| {
            counts.matched += matched;
            counts.orphans += orphans;
        });
    }

    async fn remove(&mut self, keys: &[Bytes]) -> Result<(), Stop> {
        let unlinked = self.again_if_transient(|| self.shard.unlink(keys)).await?;
        let moved = count(&unlinked.moved);
        let answered = count(keys).saturating_sub(moved);
        let removed = unlinked.removed.min(answered);
        let late = self
            .count_late(keys)
            .saturating_sub(self.count_late(&unlinked.moved));
        self.tally.change(|counts| {
            counts.matched += answered;
            counts.removed += removed;
            counts.gone += answered - removed;
            counts.late += late;
        });
        if moved == 0 {
            return Ok(());
        }
        let (own, foreign): (Vec<Bytes>, Vec<Bytes>) = unlinked
            .moved
            .into_iter()
            .partition(|key| self.own.contains(self.errand.place_of(key)));
        self.follow_own(&own).await?;
        self.follow_foreign(&foreign).await
    }

    /// Keys of a slot that this primary serves, or served when the visit began, and gives away.
    async fn follow_own(&mut self, keys: &[Bytes]) -> Result<(), Stop> {
        if keys.is_empty() {
            return Ok(());
        }
        self.note_restless(keys);
        let removed = self.unlink_anywhere(keys).await?;
        let (followed, late) = (count(keys), self.count_late(keys));
        self.tally.change(|counts| {
            counts.matched += followed;
            counts.removed += removed;
            counts.gone += followed - removed;
            counts.moved += followed;
            counts.late += late;
        });
        Ok(())
    }

    /// Keys of a slot that this primary does not serve: it receives the slot key by key, or it has kept
    /// what it should have dropped.
    async fn follow_foreign(&mut self, keys: &[Bytes]) -> Result<(), Stop> {
        // After a whole visit here, what is not found is an orphan that was counted then.
        let (seen, new): (Vec<Bytes>, Vec<Bytes>) = keys
            .iter()
            .cloned()
            .partition(|key| self.seen.contains(self.errand.place_of(key)));
        for (keys, is_new) in [(new, true), (seen, false)] {
            if keys.is_empty() {
                continue;
            }
            let removed = self.unlink_anywhere(&keys).await?;
            if removed > 0 {
                self.note_restless(&keys);
            }
            let orphans = if self.is_first { count(&keys) - removed } else { 0 };
            self.tally.change(|counts| {
                counts.matched += removed + orphans;
                counts.removed += removed;
                counts.orphans += orphans;
                counts.moved += count(&keys);
                counts.late += if is_new { 0 } else { removed };
            });
        }
        Ok(())
    }

    async fn unlink_anywhere(&self, keys: &[Bytes]) -> Result<u64, Stop> {
        let removed = self
            .again_if_transient(|| self.errand.keys.unlink_anywhere(keys))
            .await?;
        Ok(removed.min(count(keys)))
    }

    /// Removing again does no harm, so that only the last of several failures counts.
    async fn again_if_transient<T, F, Fut>(&self, call: F) -> Result<T, Stop>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, CacheError>>,
    {
        let mut pause = FIRST_PAUSE;
        for _ in 0..RETRIES {
            match call().await {
                Err(error) if error.is_transient() => self.rest(pause, error).await?,
                result => return Ok(result?),
            }
            pause *= 2;
        }
        Ok(call().await?)
    }

    /// Waits after `error` before another try.
    async fn rest(&self, pause: Duration, error: CacheError) -> Result<(), Stop> {
        tokio::select! {
            () = self.errand.cancelled() => Err(Stop::Cancelled(Some(error))),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    /// A walk that failed comes again: what it counted without removing it would count twice.
    fn take_back(&self, before: Counts) {
        let removes = self.errand.removes();
        self.tally.change(|counts| {
            if !removes {
                counts.matched = before.matched;
            } else {
                counts.matched -= counts.orphans - before.orphans;
            }
            counts.orphans = before.orphans;
        });
    }

    fn note_restless(&mut self, keys: &[Bytes]) {
        for key in keys {
            self.restless.insert(self.errand.place_of(key));
        }
    }

    fn count_late(&self, keys: &[Bytes]) -> u64 {
        count(
            keys.iter()
                .filter(|key| self.seen.contains(self.errand.place_of(key))),
        )
    }

    fn tell_page(&self, looked_at: u64) {
        let keys = self.tally.keys_before().unwrap_or(u64::MAX);
        self.errand.tell(|| Event::Page {
            primary: Arc::clone(&self.address),
            counts: self.tally.counts(),
            looked_at: looked_at.min(keys),
        });
    }
}

async fn next_page(errand: &Errand, shard: &dyn Shard, cursor: u64) -> Result<ScanPage, Stop> {
    tokio::select! {
        biased;
        () = errand.cancelled() => Err(Stop::Cancelled(None)),
        page = shard.scan(cursor, &errand.pattern, errand.page_size) => Ok(page?),
    }
}

fn lock(sample: &Mutex<Reservoir>) -> MutexGuard<'_, Reservoir> {
    sample.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count<I: IntoIterator>(items: I) -> u64 {
    items.into_iter().fold(0, |count, _| count + 1)
}
