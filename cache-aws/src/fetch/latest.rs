//! The latest value of something that is fetched.
//!
//! Not in here: how often it may be fetched on a refusal (`pace.rs`).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheError, Outcome, Unavailability};
use tokio::sync::watch;

/// How long a failed fetch is the result for all callers. Connections are retried in quick succession and
/// must not overload a failing service.
const FAILURE_HOLDS: Duration = Duration::from_secs(1);

type Fetched<T> = Result<Arc<T>, CacheError>;

/// Holds the latest value. All methods take `&self`.
pub(crate) struct Latest<T> {
    state: Arc<Mutex<State<T>>>,
}

struct State<T> {
    value: Option<Arc<T>>,
    /// Whether to fetch again even if the value is still valid.
    stale: bool,
    failed: Option<(Instant, CacheError)>,
    running: Option<watch::Receiver<Option<Fetched<T>>>>,
}

impl<T: Send + Sync + 'static> Latest<T> {
    pub(crate) fn new() -> Self {
        let state = State {
            value: None,
            stale: false,
            failed: None,
            running: None,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Returns the value if it is still valid, otherwise the result of `fetch`. Callers during a fetch share
    /// its result; it continues even if they all stop waiting. `fetch` must have a time limit.
    pub(crate) async fn get<F>(&self, is_good: impl Fn(&T) -> bool, fetch: impl FnOnce() -> F) -> Fetched<T>
    where
        F: Future<Output = Result<T, CacheError>> + Send + 'static,
    {
        let mut running = {
            let mut state = self.state();
            if let Some(value) = &state.value
                && !state.stale
                && is_good(value)
            {
                return Ok(Arc::clone(value));
            }
            if let Some((since, error)) = &state.failed
                && clock::now().saturating_duration_since(*since) < FAILURE_HOLDS
            {
                return Err(error.clone());
            }
            match &state.running {
                Some(running) => running.clone(),
                None => {
                    let running = self.start(fetch());
                    state.running = Some(running.clone());
                    running
                }
            }
        };
        match running.wait_for(Option::is_some).await {
            Ok(fetched) => fetched.clone().unwrap_or_else(|| Err(abandoned())),
            // The task ended without a result: the runtime is shutting down, or the fetch panicked.
            Err(_) => {
                self.state().running = None;
                Err(abandoned())
            }
        }
    }

    /// The value that was fetched last, valid or not.
    pub(crate) fn peek(&self) -> Option<Arc<T>> {
        self.state().value.clone()
    }

    /// Lets the next [`get`](Self::get) fetch, even shortly after a failure. Until it succeeds
    /// [`peek`](Self::peek) shows the old value.
    pub(crate) fn expire(&self) {
        let mut state = self.state();
        state.stale = true;
        state.failed = None;
    }

    fn start<F>(&self, fetch: F) -> watch::Receiver<Option<Fetched<T>>>
    where
        F: Future<Output = Result<T, CacheError>> + Send + 'static,
    {
        let (done, running) = watch::channel(None);
        let state = Arc::clone(&self.state);
        tokio::spawn(async move {
            let fetched = fetch.await.map(Arc::new);
            {
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                state.running = None;
                match &fetched {
                    Ok(value) => {
                        state.value = Some(Arc::clone(value));
                        state.stale = false;
                        state.failed = None;
                    }
                    Err(error) => state.failed = Some((clock::now(), error.clone())),
                }
            }
            done.send_replace(Some(fetched));
        });
        running
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Latest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latest").finish_non_exhaustive()
    }
}

fn abandoned() -> CacheError {
    CacheError::Unavailable {
        reason: Unavailability::Lost,
        detail: "the task that was fetching from AWS has ended without an answer".into(),
        outcome: Outcome::NotApplied,
        source: None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn failure() -> CacheError {
        CacheError::Unauthorized {
            detail: "no".into(),
            source: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiters_share_one_fetch() {
        let latest = Arc::new(Latest::new());
        let fetches = Arc::new(AtomicUsize::new(0));
        let mut waiting = Vec::new();
        for _ in 0..20 {
            let (latest, fetches) = (Arc::clone(&latest), Arc::clone(&fetches));
            waiting.push(tokio::spawn(async move {
                latest
                    .get(
                        |_| true,
                        || async move {
                            tokio::time::sleep(Duration::from_secs(1)).await;
                            Ok(fetches.fetch_add(1, Ordering::Relaxed))
                        },
                    )
                    .await
            }));
        }
        for waiter in waiting {
            assert_eq!(*waiter.await.unwrap().unwrap(), 0);
        }
        assert_eq!(fetches.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn dropped_first_waiter_does_not_stop_the_fetch() {
        let latest = Latest::new();
        let slow = || async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(7)
        };
        let first = tokio::time::timeout(Duration::from_millis(10), latest.get(|_| true, slow));
        assert!(first.await.is_err());
        let second = latest.get(|_| true, || async { panic!("a second fetch") });
        assert_eq!(*second.await.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn failure_is_cached_for_one_second() {
        let latest = Latest::<u8>::new();
        let failed = latest.get(|_| true, || async { Err(failure()) }).await;
        assert!(failed.is_err());
        let again = latest.get(|_| true, || async { panic!("asked too soon") }).await;
        assert!(matches!(again, Err(CacheError::Unauthorized { .. })));
        tokio::time::advance(FAILURE_HOLDS).await;
        assert_eq!(*latest.get(|_| true, || async { Ok(1) }).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn panicking_fetch_fails_only_its_waiters() {
        let latest = Latest::<u8>::new();
        let failed = latest.get(|_| true, || async { panic!("as planned") }).await;
        assert!(matches!(failed, Err(CacheError::Unavailable { .. })));
        assert_eq!(*latest.get(|_| true, || async { Ok(1) }).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn expired_value_is_fetched_again() {
        let latest = Latest::new();
        assert_eq!(*latest.get(|_| true, || async { Ok(1) }).await.unwrap(), 1);
        assert_eq!(*latest.get(|_| true, || async { Ok(2) }).await.unwrap(), 1);
        assert_eq!(
            *latest.get(|value| *value > 1, || async { Ok(2) }).await.unwrap(),
            2
        );
        latest.expire();
        assert_eq!(latest.peek().as_deref(), Some(&2));
        assert_eq!(*latest.get(|_| true, || async { Ok(3) }).await.unwrap(), 3);
    }
}
