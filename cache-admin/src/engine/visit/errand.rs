//! What all visits of a run have in common.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cache_core::slot::slot_of;
use tokio::sync::mpsc;

use super::Stop;
use crate::engine::budget::Budget;
use crate::engine::checkpoint::Checkpoint;
use crate::engine::checkpoint::saver::Saver;
use crate::engine::ledger::Ledger;
use crate::engine::pace::Limiter;
use crate::engine::plan::Plan;
use crate::engine::sample::Reservoir;
use crate::engine::{Control, Event, Observer};
use crate::keys::Keys;

/// What all visits of a run have in common.
pub(in crate::engine) struct Errand {
    pub(in crate::engine) keys: Arc<dyn Keys>,
    pub(in crate::engine) plan: Plan,
    pub(in crate::engine) clustered: bool,
    pub(in crate::engine) action: Action,
    pub(in crate::engine) control: Control,
    pub(in crate::engine) observer: Option<Arc<dyn Observer>>,
    pub(in crate::engine) limiter: Limiter,
    pub(in crate::engine) budget: Budget,
    pub(in crate::engine) saver: Option<Saver>,
    pub(in crate::engine) ledger: Ledger,
}

/// What is done with the keys that are met.
pub(in crate::engine) enum Action {
    /// They are removed.
    Remove,
    /// They are counted and sampled.
    Count(Arc<Mutex<Reservoir>>),
    /// They are handed over.
    List(mpsc::Sender<Vec<Bytes>>),
}

impl Errand {
    pub(in crate::engine) fn tell(&self, event: impl FnOnce() -> Event) {
        if let Some(observer) = &self.observer {
            observer.observe(&event());
        }
    }

    /// Tells how far the run is, where it is time to, or `always`.
    pub(in crate::engine) fn tell_progress(&self, always: bool) {
        if self.observer.is_some()
            && let Some(progress) = self.ledger.progress(always)
        {
            self.tell(|| Event::Progress(progress));
        }
    }

    /// The slot of `key`; outside of a cluster the one place that there is.
    pub(in crate::engine) fn place_of(&self, key: &[u8]) -> u16 {
        if self.clustered { slot_of(key) } else { 0 }
    }

    /// Whether it was told to stop, or nobody reads any more what it lists.
    pub(in crate::engine) fn is_cancelled(&self) -> bool {
        let unread = matches!(&self.action, Action::List(pages) if pages.is_closed());
        unread || self.control.is_cancelled()
    }

    /// Waits until [`is_cancelled`](Self::is_cancelled).
    pub(in crate::engine) async fn cancelled(&self) {
        match &self.action {
            Action::List(pages) => tokio::select! {
                () = self.control.cancelled() => {}
                () = pages.closed() => {}
            },
            _ => self.control.cancelled().await,
        }
    }

    /// Waits while the run is to rest; an error where it was told to stop.
    pub(in crate::engine) async fn may_go_on(&self) -> Result<(), Stop> {
        if self.control.is_paused() {
            tokio::select! {
                () = self.control.not_paused() => {}
                () = self.cancelled() => {}
            }
        }
        if self.is_cancelled() {
            return Err(Stop::Cancelled(None));
        }
        Ok(())
    }

    pub(in crate::engine) fn removes(&self) -> bool {
        matches!(self.action, Action::Remove)
    }

    /// The run on paper.
    pub(in crate::engine) fn snapshot(&self) -> Checkpoint {
        self.ledger.snapshot(self.budget.left())
    }

    /// Saves the run where it is time to.
    pub(super) async fn save_if_due(&self) -> Result<(), Stop> {
        match &self.saver {
            Some(saver) => Ok(saver.save_if_due(|| self.snapshot()).await?),
            None => Ok(()),
        }
    }
}
