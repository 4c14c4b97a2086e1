//! Where a run stands at this moment, primary by primary: for progress, and for a checkpoint.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::clock::{self, Instant};

use super::Progress;
use super::checkpoint::{Checkpoint, SavedPrimary};
use super::visit::Tally;
use crate::{CacheIdentity, SlotSet};

/// How often progress is told at most.
const EVERY: Duration = Duration::from_millis(100);

/// Where a run stands.
#[derive(Debug)]
pub(super) struct Ledger(Mutex<Book>);

#[derive(Debug)]
struct Book {
    /// The run as it stood when it began or was taken up again: what it is about, and what came before.
    beginning: Checkpoint,
    started: Instant,
    wanted: SlotSet,
    visits: u8,
    pass: u32,
    slots_moved: u32,
    pages: Vec<Page>,
    told: Option<Instant>,
}

/// One primary in it.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) address: Arc<str>,
    pub(super) tally: Arc<Tally>,
    /// Slots that were visited under it before this pass.
    pub(super) visited: SlotSet,
    /// Its slots that this pass visits.
    pub(super) due: SlotSet,
    /// What it had before this pass.
    pub(super) epoch: Option<u64>,
    /// Whether it was visited to the end before this pass.
    pub(super) swept: bool,
    pub(super) elapsed: Duration,
}

impl Page {
    /// The slots that were visited up to now.
    fn covered(&self) -> SlotSet {
        let behind = self.due.below(self.tally.position());
        self.visited.joined(&behind)
    }
}

impl Ledger {
    pub(super) fn new(beginning: Checkpoint, wanted: SlotSet, visits: u8, started: Instant) -> Self {
        Self(Mutex::new(Book {
            beginning,
            started,
            wanted,
            visits,
            pass: 0,
            slots_moved: 0,
            pages: Vec::new(),
            told: None,
        }))
    }

    /// A pass begins, or has ended.
    pub(super) fn turn(&self, pass: u32, slots_moved: u32, pages: Vec<Page>) {
        let mut book = self.book();
        book.pass = pass;
        book.slots_moved = slots_moved;
        book.pages = pages;
    }

    /// The cache as it is now.
    pub(super) fn set_cache(&self, cache: CacheIdentity) {
        self.book().beginning.cache = Some(cache);
    }

    /// The run on paper.
    pub(super) fn snapshot(&self, keys_left: Option<u64>) -> Checkpoint {
        let book = self.book();
        let mut checkpoint = book.beginning.clone();
        checkpoint.max_keys = keys_left;
        checkpoint.passes = book.pass;
        checkpoint.slots_moved = book.slots_moved;
        checkpoint.elapsed += clock::now() - book.started;
        let former = std::mem::take(&mut checkpoint.primaries);
        checkpoint.primaries = book
            .pages
            .iter()
            .map(|page| SavedPrimary {
                address: page.address.to_string(),
                visited: page.covered(),
                epoch: page.epoch,
                swept: page.swept,
                counts: page.tally.counts(),
                keys_before: page.tally.keys_before(),
                elapsed: page.elapsed,
            })
            .collect();
        // Of primaries that are gone only the counts are kept.
        for mut saved in former {
            if book.pages.iter().all(|page| *page.address != *saved.address) {
                saved.visited = SlotSet::new();
                saved.swept = false;
                checkpoint.primaries.push(saved);
            }
        }
        checkpoint
    }

    /// How far the run is, where it is time to tell it again, or `always`.
    pub(super) fn progress(&self, always: bool) -> Option<Progress> {
        let mut book = self.book();
        let now = clock::now();
        if !always && book.told.is_some_and(|told| now - told < EVERY) {
            return None;
        }
        book.told = Some(now);
        Some(book.progress(now))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn progress(&self, now: Instant) -> Progress {
        let covered = self.pages.iter().map(|page| page.covered().len()).sum();
        let (done, left) = self.pages.iter().fold((0, 0), |(done, left), page| {
            let (own, to_do) = self.work(page);
            (done + own, left + to_do)
        });
        let elapsed = now - self.started;
        let removed = self.pages.iter().map(|page| page.tally.counts().removed).sum();
        Progress {
            pass: self.pass,
            slots: self.wanted.len(),
            slots_covered: std::cmp::min(covered, self.wanted.len()),
            removed,
            remaining: (done > 0).then(|| elapsed.mul_f64(ratio(left, done))),
        }
    }

    /// Keys that were looked at on a primary, and those that are left to look at, in all visits.
    fn work(&self, page: &Page) -> (u64, u64) {
        let keys = page.tally.keys_before().unwrap_or(0);
        let looked_at = page.tally.looked_at().min(keys);
        let removed = page.tally.counts().removed.min(keys);
        let visits = u64::from(self.visits);
        if self.pass <= 1 {
            // What is going to be removed is not looked at a second time.
            let share = ratio(removed, looked_at.max(1));
            let kept = scaled(keys, 1.0 - share.min(1.0));
            return (looked_at, keys - looked_at + kept * (visits - 1));
        }
        let kept = keys - removed;
        let again = if page.due.is_empty() {
            kept
        } else {
            looked_at.min(kept)
        };
        (keys + again, kept - again)
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate, of a share between 0 and 1"
)]
fn scaled(keys: u64, share: f64) -> u64 {
    (keys as f64 * share) as u64
}
