//! Runs a call within its deadline, which all calls of the same request share.

use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use cache_core::clock::Instant;
use cache_core::deadline::start_of_request;
use cache_core::{CacheError, Stage};
use tokio::task::coop::{Unconstrained, unconstrained};
use tokio::time::{Sleep, sleep_until};

/// The deadline of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    /// The time for a call that is the first one of its request.
    pub(super) whole: Duration,
    /// How much of that time earlier calls of the request took.
    taken: Duration,
}

impl Deadline {
    /// The deadline of a call that starts at `now`.
    pub(super) fn of(whole: Duration, now: Instant) -> Self {
        let start = start_of_request().map_or(now, |start| start.min(now));
        Self {
            at: start + whole,
            whole,
            taken: now - start,
        }
    }

    /// Whether earlier calls of the request left nothing.
    pub(super) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// What is left for a call that starts now.
    pub(super) fn left(&self) -> Duration {
        self.whole.saturating_sub(self.taken)
    }

    /// Whether this ended a call that had less than half of the time. Such an end says little about the backend.
    pub(super) fn cut_short<T>(&self, result: &Result<T, CacheError>) -> bool {
        let ended = matches!(
            result,
            Err(CacheError::Timeout { stage: Stage::Call, after }) if *after == self.whole
        );
        ended && self.left() < self.whole / 2
    }

    /// The error of a call that does not begin because nothing is left.
    pub(super) const fn used_up(&self) -> CacheError {
        CacheError::Timeout {
            stage: Stage::Connect,
            after: self.whole,
        }
    }
}

/// Awaits `call`. A call that answers at once does not create a timer.
pub(super) async fn within<T>(
    deadline: Option<Deadline>,
    call: impl Future<Output = Result<T, CacheError>>,
) -> Result<T, CacheError> {
    let Some(Deadline { at, whole, .. }) = deadline else {
        return call.await;
    };
    let mut call = pin!(call);
    let mut timer: Option<Pin<Box<Unconstrained<Sleep>>>> = None;
    std::future::poll_fn(|context| {
        if let Poll::Ready(result) = call.as_mut().poll(context) {
            return Poll::Ready(result);
        }
        // Unconstrained: a call that uses up the budget of its task each time must not keep the timer from being
        // polled.
        let timer = timer.get_or_insert_with(|| Box::pin(unconstrained(sleep_until(at))));
        timer.as_mut().poll(context).map(|()| {
            Err(CacheError::Timeout {
                stage: Stage::Call,
                after: whole,
            })
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use cache_core::clock;

    use super::*;

    #[tokio::test]
    async fn a_call_that_uses_up_its_tasks_budget_still_ends_at_its_deadline() {
        let greedy = async {
            loop {
                tokio::task::consume_budget().await;
            }
        };
        let whole = Duration::from_millis(50);
        let result = within::<()>(Some(Deadline::of(whole, clock::now())), greedy).await;
        let error = result.unwrap_err();
        assert!(matches!(error, CacheError::Timeout { after, .. } if after == whole));
    }
}
