//! Where a flight's value comes from: one caller's loader, or a batch that is loaded together.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::oneshot;
use tracing::Instrument as _;

use super::error::ReadError;
use super::flights::FlightId;
use super::loaded::Loaded;
use super::waits::LOADING;

/// A running loader.
pub(super) type Loading<T> = Pin<Box<dyn Future<Output = Result<T, ReadError>> + Send>>;

/// Loads one key.
pub(super) enum Source<V: Send + 'static> {
    One(Box<dyn FnOnce() -> Loading<Loaded<V>> + Send>),
    Many(Ticket<V>),
}

impl<V: Send + 'static> Source<V> {
    /// Announces that this flight will wait for something other than its load. A batch then goes on without it.
    pub(super) fn step_aside(&mut self) {
        if let Self::Many(ticket) = self {
            ticket.leave();
        }
    }

    /// Loads the value. A panic becomes an error.
    pub(super) async fn load(self, key: &str, flight: FlightId) -> Result<Loaded<V>, ReadError> {
        match self {
            // Created inside, so that a loader that panics before it returns a future is caught too.
            Self::One(load) => {
                LOADING
                    .scope(vec![flight], caught(async move { load().await }))
                    .await
            }
            Self::Many(mut ticket) => ticket.load(key, flight).await,
        }
    }
}

async fn caught<T>(loading: impl Future<Output = Result<T, ReadError>>) -> Result<T, ReadError> {
    AssertUnwindSafe(loading)
        .catch_unwind()
        .await
        .unwrap_or(Err(ReadError::Panicked))
}

/// The loader of a batch. It takes keys and returns one answer per key, in the same order.
pub(super) type LoadMany<V> =
    dyn Fn(Vec<String>) -> Loading<VecDeque<Result<Loaded<V>, ReadError>>> + Send + Sync;

/// Gathers the keys of a batch that have to be loaded. Loads them by one call once each key of the batch is decided.
pub(super) struct Gathering<V> {
    load: Arc<LoadMany<V>>,
    hard_timeout: Duration,
    state: Mutex<State<V>>,
}

struct State<V> {
    undecided: usize,
    wanted: Vec<Wanted<V>>,
}

struct Wanted<V> {
    key: String,
    flight: FlightId,
    answer: oneshot::Sender<Result<Loaded<V>, ReadError>>,
}

/// One key's part in a gathering. Dropping it leaves the gathering.
pub(super) struct Ticket<V: Send + 'static> {
    gathering: Arc<Gathering<V>>,
    undecided: bool,
}

impl<V: Send + 'static> Gathering<V> {
    pub(super) fn new(load: Arc<LoadMany<V>>, hard_timeout: Duration) -> Arc<Self> {
        let state = State {
            undecided: 0,
            wanted: Vec::new(),
        };
        Arc::new(Self {
            load,
            hard_timeout,
            state: Mutex::new(state),
        })
    }

    /// Another gathering with the same loader.
    pub(super) fn again(&self) -> Arc<Self> {
        Self::new(Arc::clone(&self.load), self.hard_timeout)
    }

    /// Creates `count` tickets, one per key. Create all of them before the first is used.
    pub(super) fn tickets(self: &Arc<Self>, count: usize) -> Vec<Ticket<V>> {
        self.state().undecided += count;
        let ticket = || Ticket {
            gathering: Arc::clone(self),
            undecided: true,
        };
        std::iter::repeat_with(ticket).take(count).collect()
    }

    /// Records that one more key is decided. The last one starts the load.
    fn decided(self: &Arc<Self>) {
        let mut state = self.state();
        state.undecided -= 1;
        if state.undecided > 0 || state.wanted.is_empty() {
            return;
        }
        let wanted = std::mem::take(&mut state.wanted);
        drop(state);
        tokio::spawn(Arc::clone(self).load(wanted).in_current_span());
    }

    async fn load(self: Arc<Self>, wanted: Vec<Wanted<V>>) {
        let keys = wanted.iter().map(|wanted| wanted.key.clone()).collect();
        let flights = wanted.iter().map(|wanted| wanted.flight).collect();
        let loading = LOADING.scope(flights, caught(async { (self.load)(keys).await }));
        // Waiters have their own limits. This one is for a loader that no caller waits for.
        let Ok(answers) = tokio::time::timeout(self.hard_timeout, loading).await else {
            return;
        };
        let (mut answers, failure) = match answers {
            Ok(answers) => (answers, ReadError::Unanswered),
            Err(failure) => (VecDeque::new(), failure),
        };
        for wanted in wanted {
            let answer = answers.pop_front().unwrap_or_else(|| Err(failure.clone()));
            // A waiter that has left needs no answer.
            let _gone = wanted.answer.send(answer);
        }
    }

    fn state(&self) -> MutexGuard<'_, State<V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Send + 'static> Ticket<V> {
    fn leave(&mut self) {
        if std::mem::take(&mut self.undecided) {
            self.gathering.decided();
        }
    }

    /// Loads with the others of the batch, or alone if this key has left it.
    async fn load(&mut self, key: &str, flight: FlightId) -> Result<Loaded<V>, ReadError> {
        let (answer, answered) = oneshot::channel();
        let wanted = Wanted {
            key: key.to_owned(),
            flight,
            answer,
        };
        if self.undecided {
            self.gathering.state().wanted.push(wanted);
            self.leave();
        } else {
            let loading = Arc::clone(&self.gathering).load(vec![wanted]);
            tokio::spawn(loading.in_current_span());
        }
        answered.await.unwrap_or(Err(ReadError::Aborted))
    }
}

impl<V: Send + 'static> Drop for Ticket<V> {
    fn drop(&mut self) {
        self.leave();
    }
}
