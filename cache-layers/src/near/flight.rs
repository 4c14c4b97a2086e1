//! One far read for all who want the same key at once.
//!
//! The one who leads reads in its own call; those who joined wait for its answer. A leader that is dropped
//! tells them so, and they begin anew: one of them leads. Not in here: who may join whose read; that is
//! decided by the marks.

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
    answer: watch::Sender<Option<Answer<V>>>,
}

/// A far read, in the hands of one who waits for it.
#[derive(Clone, Debug)]
pub(crate) struct Seat<V>(watch::Receiver<Option<Answer<V>>>);

pub(super) type Sender<V> = watch::Sender<Option<Answer<V>>>;

/// A way to tell the answer, and to wait for it.
pub(super) fn channel<V>() -> (Sender<V>, Seat<V>) {
    let (sender, receiver) = watch::channel(None);
    (sender, Seat(receiver))
}

impl<V: Clone + Send + Sync + 'static> Flight<V> {
    pub(super) const fn new(mark: Mark<V>, answer: Sender<V>) -> Self {
        Self { mark, answer }
    }

    /// Ends it: stores a copy, where there is one and it may be, then tells those who wait.
    pub(crate) fn land(self, answer: &Answer<V>, keep: Option<Keep<V>>) {
        match keep {
            Some(keep) => _ = self.mark.complete(keep),
            None => drop(self.mark),
        }
        self.answer.send_replace(Some(answer.clone()));
    }
}

impl<V: Clone> Seat<V> {
    /// Waits for the end; `None` where the leader has gone without one.
    pub(crate) async fn landed(mut self) -> Option<Answer<V>> {
        let answer = self.0.wait_for(Option::is_some).await.ok()?;
        answer.clone()
    }
}
