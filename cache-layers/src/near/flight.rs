//! One far read for all who want the same key at once.
//!
//! The one who leads reads in its own call; those who joined wait for its answer. A leader that is dropped
//! tells them so, and they begin anew: one of them leads. Not in here: who may join whose read; that is
//! decided by the marks.

use std::sync::{Arc, OnceLock};

use cache_core::CacheError;
use tokio::sync::watch;

use super::{Found, Keep, Mark};

/// How a far read ended.
pub(crate) type Answer<V> = Result<Found<V>, CacheError>;

/// What a caller found who wants a key that is not near.
#[derive(Debug)]
pub(crate) enum Boarding<V: Clone + Send + Sync + 'static> {
    /// Everything was reset while the caller was on its way: it has to begin anew.
    Late,
    /// It has come while the caller was on its way.
    Hit(Found<V>),
    /// It is being read.
    Joined(Seat<V>),
    /// Nobody reads it: the caller does.
    Led(Flight<V>),
}

/// A far read, in the hands of the one who makes it. Dropping it lets those who wait begin anew.
#[derive(Debug)]
#[must_use = "those who join wait for it"]
pub(crate) struct Flight<V: Clone + Send + Sync + 'static> {
    // Before the sender: by the time those who wait hear of the end, nobody can join any more.
    mark: Mark<V>,
    seats: Seats<V>,
}

/// A far read, in the hands of one who waits for it.
#[derive(Clone, Debug)]
pub(crate) struct Seat<V>(watch::Receiver<Option<Answer<V>>>);

/// Where those who join a flight wait. Made when the first one does: most reads are nobody else's.
#[derive(Clone, Debug)]
pub(super) struct Seats<V>(Arc<OnceLock<watch::Sender<Option<Answer<V>>>>>);

impl<V> Seats<V> {
    pub(super) fn new() -> Self {
        Self(Arc::new(OnceLock::new()))
    }

    /// To be called under the lock that guards the mark: the one who leads looks only after the mark is gone.
    pub(super) fn take(&self) -> Seat<V> {
        Seat(self.0.get_or_init(|| watch::Sender::new(None)).subscribe())
    }
}

impl<V: Clone + Send + Sync + 'static> Flight<V> {
    pub(super) const fn new(mark: Mark<V>, seats: Seats<V>) -> Self {
        Self { mark, seats }
    }

    /// Ends it: stores a copy, where there is one and it may be, then tells those who wait.
    pub(crate) fn land(self, answer: &Answer<V>, keep: Option<Keep<V>>) {
        match keep {
            Some(keep) => _ = self.mark.complete(keep),
            None => drop(self.mark),
        }
        if let Some(joined) = self.seats.0.get() {
            joined.send_replace(Some(answer.clone()));
        }
    }
}

impl<V: Clone> Seat<V> {
    /// Waits for the end; `None` where the leader has gone without one.
    pub(crate) async fn landed(mut self) -> Option<Answer<V>> {
        let answer = self.0.wait_for(Option::is_some).await.ok()?;
        answer.clone()
    }
}
