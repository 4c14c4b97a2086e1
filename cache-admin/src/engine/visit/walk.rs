//! One walk over a primary: its pages, and what is done with the keys of each.
//!
//! At a gentle pace one thing is done after the other. At full speed the primary is never to wait for us: pages
//! are fetched ahead of those that are worked off, and two of these at a time, so that there is always a call that the primary
//! has not answered. They are finished in their order all the same.

use std::pin::pin;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use cache_core::slot::SLOTS;
use cache_core::{CacheError, clock};
use futures::StreamExt as _;
use futures::future::{self, Either};
use futures::stream::FuturesOrdered;
use tokio::sync::{mpsc, oneshot};

use super::{Action, Stop, Visit, count, watched, watched_apart};
use crate::engine::plan::Walk;
use crate::engine::sample::Reservoir;
use crate::keys::{Find, ScanPage};

/// Pages that are fetched ahead at full speed.
const PAGES_AHEAD: usize = 2;

/// Keys that are compared with the patterns at once.
const AT_ONCE: usize = 16;

/// Pages that are worked off at a time at full speed.
const AT_A_TIME: usize = 2;

/// A page, where it began and where the walk goes on, what it cost, and how long it took.
struct Fetched {
    page: ScanPage,
    from: u64,
    /// `None` at the walk's end.
    next: Option<u64>,
    count: u32,
    took: Duration,
}

/// A page that was worked off.
struct Done {
    /// What is still to be counted, or listed.
    keys: Vec<Bytes>,
    next: Option<u64>,
    count: u32,
}

impl Visit {
    /// Walks over all keys that `walk` meets.
    pub(super) async fn follow(&self, walk: &Walk, sample: Option<&Mutex<Reservoir>>) -> Result<(), Stop> {
        if self.governor.is_gentle() {
            self.follow_gently(walk, sample).await
        } else {
            self.follow_at_full_speed(walk, sample).await
        }
    }

    async fn follow_gently(&self, walk: &Walk, sample: Option<&Mutex<Reservoir>>) -> Result<(), Stop> {
        let mut cursor = walk.start;
        loop {
            let fetched = self.fetch(walk, cursor).await?;
            let (next, took) = (fetched.next, fetched.took);
            let began = clock::now();
            self.check_order(walk, &fetched)?;
            let done = self.work_off(walk, fetched).await?;
            self.finish(walk, done, sample).await?;
            let Some(next) = next else { return Ok(()) };
            self.rest_after(took + (clock::now() - began)).await?;
            cursor = next;
        }
    }

    async fn follow_at_full_speed(&self, walk: &Walk, sample: Option<&Mutex<Reservoir>>) -> Result<(), Stop> {
        let (pages, mut queue) = mpsc::channel(PAGES_AHEAD);
        let fetch = pin!(async move {
            let mut cursor = Some(walk.start);
            while let Some(from) = cursor {
                let fetched = self.fetch(walk, from).await;
                cursor = fetched.as_ref().map_or(None, |fetched| fetched.next);
                if pages.send(fetched).await.is_err() {
                    return;
                }
            }
        });
        let work = pin!(async move {
            let mut under_way = FuturesOrdered::new();
            let (first, mut turn) = oneshot::channel();
            let _ = first.send(());
            let (mut ended, mut more) = (Ok(()), true);
            // After a failure no page is begun, but those that are under way come to their end and count.
            loop {
                let room = more && ended.is_ok() && under_way.len() < AT_A_TIME;
                tokio::select! {
                    Some(done) = under_way.next() => ended = ended.and(done),
                    fetched = queue.recv(), if room => match fetched {
                        Some(Ok(fetched)) => match self.check_order(walk, &fetched) {
                            Ok(()) => {
                                let (done, next_turn) = oneshot::channel();
                                let turn = std::mem::replace(&mut turn, next_turn);
                                under_way.push_back(self.work_off_in_turn(walk, fetched, sample, turn, done));
                            }
                            Err(stop) => ended = Err(stop),
                        },
                        Some(Err(stop)) => ended = Err(stop),
                        None => more = false,
                    },
                    else => return ended,
                }
            }
        });
        match future::select(work, fetch).await {
            Either::Left((ended, _)) => ended,
            Either::Right(((), work)) => work.await,
        }
    }

    /// Works a page off while the one before may still be, but finishes it only once that is `done` too: what
    /// follows a page that failed was not reached.
    async fn work_off_in_turn(
        &self,
        walk: &Walk,
        fetched: Fetched,
        sample: Option<&Mutex<Reservoir>>,
        turn: oneshot::Receiver<()>,
        done: oneshot::Sender<()>,
    ) -> Result<(), Stop> {
        let worked_off = self.work_off(walk, fetched).await?;
        if turn.await.is_ok() {
            self.finish(walk, worked_off, sample).await?;
            let _ = done.send(());
        }
        Ok(())
    }

    async fn fetch(&self, walk: &Walk, cursor: u64) -> Result<Fetched, Stop> {
        let (errand, shard, governor) = (&*self.errand, &*self.shard, &*self.governor);
        errand.may_go_on().await?;
        let count = errand.limiter.share(governor.page());
        let find = Find {
            pattern: &walk.pattern,
            kind: errand.plan.kind(),
            count,
        };
        tokio::select! {
            biased;
            () = errand.cancelled() => Err(Stop::Cancelled(None)),
            fetched = async {
                errand.limiter.turn(count).await;
                let began = clock::now();
                let page = watched(shard, governor, shard.scan(cursor, find)).await;
                match &page {
                    Ok(_) => governor.took(count, clock::now() - began),
                    Err(CacheError::Timeout { .. }) => governor.timed_out(count),
                    Err(_) => {}
                }
                let page = page?;
                let goes_on = page.cursor != 0 && !walk.is_past(shard.slot_at(page.cursor));
                Ok(Fetched {
                    from: cursor,
                    next: goes_on.then_some(page.cursor),
                    page,
                    count,
                    took: clock::now() - began,
                })
            } => fetched,
        }
    }

    /// Whether keys and cursor are where a walk that goes slot by slot would meet them.
    fn check_order(&self, walk: &Walk, fetched: &Fetched) -> Result<(), Stop> {
        if walk.end.is_none() {
            return Ok(());
        }
        let first = self.shard.slot_at(fetched.from).unwrap_or(0);
        let last = match fetched.page.cursor {
            0 => SLOTS,
            next => self.shard.slot_at(next).unwrap_or(SLOTS),
        };
        let keys = &fetched.page.keys;
        let in_order = first <= last
            && keys
                .iter()
                .all(|key| (first..=last).contains(&self.errand.place_of(key)));
        if in_order { Ok(()) } else { Err(Stop::Disordered) }
    }

    /// Removes the keys of a page that are asked for, or finds out which they are.
    async fn work_off(&self, walk: &Walk, fetched: Fetched) -> Result<Done, Stop> {
        self.errand.may_go_on().await?;
        self.tally.change(|counts| counts.pages += 1);
        let Fetched {
            page, next, count, ..
        } = fetched;
        let mut keys = page.keys;
        // A server may return more keys than it was asked to look at.
        let count = count.max(u32::try_from(keys.len()).unwrap_or(u32::MAX));
        keys.retain(|key| self.due.contains(self.errand.place_of(key)));
        let mut taken = Vec::new();
        for some in keys.chunks(AT_ONCE) {
            taken.extend(
                some.iter()
                    .filter(|key| self.errand.plan.takes(walk, key))
                    .cloned(),
            );
            // Many patterns, or long ones: others of this process are not to wait for all of them.
            tokio::task::consume_budget().await;
        }
        let mut keys = self.passing(taken).await?;
        if self.errand.removes() {
            self.remove(&keys).await?;
            keys.clear();
        }
        Ok(Done { keys, next, count })
    }

    /// What is done page by page in their order, once the ones before are done.
    async fn finish(&self, walk: &Walk, done: Done, sample: Option<&Mutex<Reservoir>>) -> Result<(), Stop> {
        match &self.errand.action {
            Action::Remove => {}
            Action::Count(_) => self.count(&done.keys, sample),
            Action::List(_) if done.keys.is_empty() => {}
            Action::List(page) => {
                let matched = count(&done.keys);
                page.send(done.keys).await.map_err(|_| Stop::Cancelled(None))?;
                self.tally.change(|counts| counts.matched += matched);
            }
        }
        self.tally.look(done.count);
        let next = done.next.and_then(|next| self.shard.slot_at(next));
        if let Some(slot) = next.filter(|_| walk.goes_through()) {
            self.tally.reach(slot);
        }
        self.tell_page(self.tally.looked_at());
        self.errand.save_if_due().await
    }

    async fn rest_after(&self, work: Duration) -> Result<(), Stop> {
        let rest = self.governor.rest_after(work);
        if rest.is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = self.errand.cancelled() => Err(Stop::Cancelled(None)),
            () = async {
                tokio::time::sleep(rest).await;
                watched_apart(&*self.shard, &self.governor).await;
            } => Ok(()),
        }
    }
}
