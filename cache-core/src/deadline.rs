//! The instant by which a layer above needs the results of a call.
//!
//! A call with one result per key can have results although some keys get none in time. A layer with a
//! deadline would lose those results if it dropped the call. So the layer announces its deadline, and the
//! client below returns what it has by then.
//!
//! It applies to [`get_each`](crate::CacheClient::get_each) and [`set_each`](crate::CacheClient::set_each).
//! Not in here: the layer's own timer, which ends the call if the client below ignores the deadline.

use crate::clock::Instant;

tokio::task_local! {
    static WANTED_BY: Instant;
}

/// Runs `call`, whose results are needed by `at`, or earlier if a layer further above says so.
///
/// # Cancel safety
///
/// As that of `call`.
pub async fn wanted_by<F: Future>(at: Instant, call: F) -> F::Output {
    let at = current().map_or(at, |above| above.min(at));
    WANTED_BY.scope(at, call).await
}

/// When the results of the current call are needed; `None` if no layer above has set a deadline.
#[must_use]
pub fn current() -> Option<Instant> {
    WANTED_BY.try_with(|at| *at).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    #[tokio::test]
    async fn earliest_deadline_of_all_layers_counts() {
        let (now, second) = (clock::now(), Duration::from_secs(1));
        assert_eq!(current(), None);
        let inner = async |at| wanted_by(at, async { current() }).await;
        assert_eq!(
            wanted_by(now + second, inner(now + second * 2)).await,
            Some(now + second)
        );
        assert_eq!(wanted_by(now + second, inner(now)).await, Some(now));
        assert_eq!(current(), None);
    }
}
