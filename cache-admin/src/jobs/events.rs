//! Listening to one job.

use std::sync::Arc;

use tokio::sync::watch;

use super::JobEvent;
use super::entry::Entry;

/// The events of one job, one after the other; made by [`Jobs::events`](super::Jobs::events).
///
/// A listener that is slower than the job misses what is no longer kept, which shows in the numbers.
#[derive(Debug)]
pub struct JobEvents {
    entry: Arc<Entry>,
    after: u64,
    told: watch::Receiver<u64>,
}

impl JobEvents {
    pub(super) fn new(entry: Arc<Entry>, after: u64) -> Self {
        Self {
            told: entry.told(),
            entry,
            after,
        }
    }

    /// The next event; `None` at the end of the job, or of its process.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no event is lost.
    pub async fn next(&mut self) -> Option<JobEvent> {
        loop {
            match self.entry.event_after(self.after) {
                Ok(event) => {
                    self.after = event.sequence;
                    return Some(event);
                }
                Err(true) => {
                    // The entry, which tells, is ours.
                    let _ = self.told.changed().await;
                }
                Err(false) => return None,
            }
        }
    }
}
