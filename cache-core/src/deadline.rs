//! What a layer tells the layers below about time: when a call's results are needed, and since when it counts.
//!
//! - [`wanted_by`]: a call with one result per key can have results although some keys get none in time. A layer with a
//!   deadline would lose those results if it dropped the call. So the layer announces its deadline, and the client below
//!   returns what it has by then. It applies to [`get_each`](crate::CacheClient::get_each),
//!   [`get_entries`](crate::CacheClient::get_entries) and [`set_each`](crate::CacheClient::set_each).
//! - [`counted_from`]: a recipe answers one request with several calls, one after the other. It announces when the first
//!   one began, and a layer with a deadline counts that deadline from there: one for all of them, not one for each.
//!
//! Not in here: timers. Each layer ends its calls itself.

use crate::clock::Instant;

tokio::task_local! {
    static WANTED_BY: Instant;
    static COUNTED_FROM: Instant;
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

/// Runs `call`, whose time counts from `start`, or from earlier if a caller further above says so.
///
/// A recipe that waits for something other than the cache between two calls, such as a loader, moves `start` later by the
/// time that this took. A service can announce a start of its own around all calls and recipes that answer one request;
/// since the earliest start counts, loaders inside them count too, then:
///
/// ```
/// use cache_core::{CacheClient, CacheError, MemoryCache, clock, deadline};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let cache = MemoryCache::default();
/// // With `CACHE_OP_TIMEOUT=200ms` both calls together take 200 ms at most.
/// let request = deadline::counted_from(clock::now(), async {
///     let plan = cache.exists(&["plan"]).await?;
///     let quota = cache.incr("quota").await?;
///     Ok::<_, CacheError>((plan, quota))
/// });
/// assert_eq!(request.await?, (0, 1));
/// # Ok::<(), CacheError>(())
/// # }).unwrap();
/// ```
///
/// # Cancel safety
///
/// As that of `call`.
pub async fn counted_from<F: Future>(start: Instant, call: F) -> F::Output {
    let start = start_of_request().map_or(start, |above| above.min(start));
    COUNTED_FROM.scope(start, call).await
}

/// Since when the current call counts; `None` if no caller above has said so, and it counts for itself.
#[must_use]
pub fn start_of_request() -> Option<Instant> {
    COUNTED_FROM.try_with(|start| *start).ok()
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

    #[tokio::test]
    async fn earliest_start_of_all_callers_counts() {
        let (now, second) = (clock::now(), Duration::from_secs(1));
        assert_eq!(start_of_request(), None);
        let inner = async |start| counted_from(start, async { start_of_request() }).await;
        assert_eq!(counted_from(now, inner(now + second)).await, Some(now));
        assert_eq!(counted_from(now + second, inner(now)).await, Some(now));
        assert_eq!(start_of_request(), None);
    }
}
