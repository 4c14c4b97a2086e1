//! A call, but not beyond its deadline.

use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use cache_core::clock::Instant;
use cache_core::{CacheError, Stage};
use tokio::task::coop::{Unconstrained, unconstrained};
use tokio::time::{Sleep, sleep_until};

/// Awaits `call`, which began at `started`. A call that answers at once pays for no timer.
pub(super) async fn within<T>(
    deadline: Option<Duration>,
    started: Instant,
    call: impl Future<Output = Result<T, CacheError>>,
) -> Result<T, CacheError> {
    let Some(after) = deadline else {
        return call.await;
    };
    let mut call = pin!(call);
    let mut timer: Option<Pin<Box<Unconstrained<Sleep>>>> = None;
    std::future::poll_fn(|context| {
        if let Poll::Ready(result) = call.as_mut().poll(context) {
            return Poll::Ready(result);
        }
        // Unconstrained: a call that uses up the budget of its task each time must not keep the timer
        // from being looked at.
        let timer = timer.get_or_insert_with(|| Box::pin(unconstrained(sleep_until(started + after))));
        timer.as_mut().poll(context).map(|()| {
            Err(CacheError::Timeout {
                stage: Stage::Call,
                after,
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
        let deadline = Duration::from_millis(50);
        let result = within::<()>(Some(deadline), clock::now(), greedy).await;
        let error = result.unwrap_err();
        assert!(matches!(error, CacheError::Timeout { after, .. } if after == deadline));
    }
}
