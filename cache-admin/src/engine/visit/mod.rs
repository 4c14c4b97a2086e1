//! One visit to one primary: every page of its keys, and what is done with them.
//!
//! Not in here: which primaries are visited, and when again.

mod errand;
mod filter;
mod remove;
mod tally;
mod walk;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cache_core::slot::SLOTS;
use cache_core::{CacheError, clock};
use futures::future;

use super::pace::Governor;
use super::sample::Reservoir;
use super::{Counts, Event};
use crate::SlotSet;
use crate::keys::Shard;

pub(super) use errand::{Action, Errand};
pub(super) use tally::Tally;

/// Tries after the first, of a visit and of each removal, on transient failures.
const RETRIES: u32 = 3;

/// The pause before the first of these; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Why a visit ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// Told to stop; with the error after which it was going to try again.
    Cancelled(Option<CacheError>),
    Failed(CacheError),
    /// No further key may be removed.
    Limited,
    /// The primary does not walk slot by slot, as it was said to.
    Disordered,
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
    pub(super) governor: Arc<Governor>,
    /// Whether no visit to this primary came to its end before.
    pub(super) is_first: bool,
    /// Filled by the visit: slots of keys that turned out to be on the move.
    pub(super) restless: Mutex<SlotSet>,
}

impl Visit {
    /// Walks over all keys. Where that breaks off for a transient reason it starts anew a few times, from
    /// the first key: a cursor means nothing to a server that has been restarted or replaced. A primary
    /// that does not even begin to answer is left to a later pass.
    pub(super) async fn run(&self) -> Result<(), Stop> {
        let ended = self.walk_again_and_again().await;
        if let Err(Stop::Failed(_)) = &ended {
            // What it walked over is as good as not visited.
            self.tally.begin();
        }
        ended
    }

    async fn walk_again_and_again(&self) -> Result<(), Stop> {
        self.ask_size().await?;
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        loop {
            let before = self.tally.counts();
            let sample = self.own_sample();
            let Err(stop) = self.walk(sample.as_ref()).await else {
                self.hand_in(sample);
                return Ok(());
            };
            let began = self.tally.counts().pages > before.pages;
            if let Stop::Failed(_) | Stop::Disordered = &stop {
                self.take_back(before);
            }
            match stop {
                Stop::Disordered if self.tally.trusts_order() => self.tally.distrust_order(),
                Stop::Failed(error) if began && error.is_transient() && tries < RETRIES => {
                    self.rest(pause, error).await?;
                    tries += 1;
                    pause *= 2;
                }
                stop => return Err(stop),
            }
        }
    }

    /// The slots of keys that turned out to be on the move.
    pub(super) fn into_restless(self) -> SlotSet {
        self.restless.into_inner().unwrap_or_else(PoisonError::into_inner)
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
                self.tally.set_size(keys);
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
    fn own_sample(&self) -> Option<Mutex<Reservoir>> {
        match &self.errand.action {
            Action::Count(sample) => Some(Mutex::new(lock(sample).like())),
            _ => None,
        }
    }

    fn hand_in(&self, own: Option<Mutex<Reservoir>>) {
        if let (Action::Count(sample), Some(own)) = (&self.errand.action, own) {
            lock(sample).merge(own.into_inner().unwrap_or_else(PoisonError::into_inner));
        }
    }

    async fn walk(&self, sample: Option<&Mutex<Reservoir>>) -> Result<(), Stop> {
        self.tally.begin();
        let errand = Arc::clone(&self.errand);
        let in_order = self.tally.trusts_order();
        let walks = errand
            .plan
            .walks(&*self.shard, &self.due, errand.clustered, in_order);
        for walk in walks {
            self.follow(&walk, sample).await?;
        }
        self.tally.reach(SLOTS);
        self.tell_page(self.tally.keys_before().unwrap_or_else(|| self.tally.looked_at()));
        Ok(())
    }

    fn count(&self, keys: &[Bytes], sample: Option<&Mutex<Reservoir>>) {
        let mut matched = 0;
        let mut sample = sample.map(lock);
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

    fn tell_page(&self, looked_at: u64) {
        let keys = self.tally.keys_before().unwrap_or(u64::MAX);
        self.errand.tell(|| Event::Page {
            primary: Arc::clone(&self.address),
            counts: self.tally.counts(),
            looked_at: looked_at.min(keys),
        });
        self.errand.tell_progress(false);
    }
}

/// Makes a call and, where others are not to notice, finds out what they notice.
async fn watched<T>(shard: &dyn Shard, governor: &Governor, call: impl Future<Output = T>) -> T {
    if !governor.wants_probe() {
        return call.await;
    }
    let (result, probe) = future::join(call, time_of_ping(shard)).await;
    if let Some(probe) = probe {
        governor.behind(probe);
    }
    result
}

/// While nothing of ours is at the server, finds out what others notice all the same.
async fn watched_apart(shard: &dyn Shard, governor: &Governor) {
    let mut slowest = Duration::ZERO;
    for _ in 0..governor.probes_apart() {
        let Some(probe) = time_of_ping(shard).await else {
            governor.apart(None);
            return;
        };
        slowest = slowest.max(probe);
    }
    governor.apart(Some(slowest));
}

/// What a call takes that costs nothing; `None` where it failed.
async fn time_of_ping(shard: &dyn Shard) -> Option<Duration> {
    let began = clock::now();
    shard.ping().await.ok()?;
    Some(clock::now() - began)
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count<I: IntoIterator>(items: I) -> u64 {
    items.into_iter().fold(0, |count, _| count + 1)
}
