//! Scenarios 69, 70 and 71: the backend goes away while callers use it, and comes back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_core::config::Startup;
use cache_core::{CacheClient as _, clock};
use cache_layers::Listener;
use cache_layers::guarded::{BreakerState, OnFailure, StateChange};
use cache_layers::{Guarded, GuardedConfig};
use tests::until;

use crate::backend::{Backend, Blow, LIMIT};
use crate::callers::Callers;

const DEADLINE: Duration = Duration::from_millis(100);
const CALLERS: usize = 32;

/// How long nothing but failures open the circuit; the default.
const FAILING_FOR: Duration = Duration::from_millis(100);

/// How long the backend is away: in one of the tests as long as it takes to believe it, in the others
/// long enough for several probes.
const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_secs(6);

/// How soon after the backend's return the circuit is closed.
const RECOVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct Changes(Mutex<Vec<StateChange>>);

impl Listener<StateChange> for Changes {
    fn on_event(&self, change: &StateChange) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(change.clone());
    }
}

async fn nobody_sees_an_error(mut backend: Backend, blow: Blow, length: Duration) -> Result<()> {
    let changes = Arc::<Changes>::default();
    let config = GuardedConfig::builder()
        .deadline(DEADLINE)
        .on_failure(OnFailure::Bypass)
        .listener(Arc::<Changes>::clone(&changes))
        .build()?;
    let client = backend.connect(Startup::Fail).await?;
    let cache = Arc::new(Guarded::new(client, config));
    let callers = Callers::start(&cache, CALLERS)?;
    callers.until_hits(1_000).await?;

    backend.strike(blow)?;
    let struck = clock::now();
    until(LIMIT, "the circuit to open", || async {
        Ok((cache.state() != BreakerState::Closed).then_some(()))
    })
    .await?;
    let opened = struck.elapsed();
    // The outage itself takes this long; nothing is waited for.
    tokio::time::sleep(length.saturating_sub(opened)).await;
    assert!(
        cache.ping().await.is_err(),
        "a health check sees nothing of the outage"
    );

    let outage = cache.stats();
    backend.restore(blow).await?;
    let returned = clock::now();
    until(LIMIT, "the circuit to close", || async {
        Ok((cache.state() == BreakerState::Closed).then_some(()))
    })
    .await?;
    let recovered = returned.elapsed();
    callers.until_hits(1_000).await?;
    let book = callers.stop().await;
    let stats = cache.stats();
    cache.ping().await?;

    let p99 = book.p99_while_open();
    println!(
        "{blow:?} for {length:?}: {} calls, {} errors, slowest {:?} (machine late by {:?}); open after {opened:?}, \
         then {} calls, p50 {:?}, p99 {p99:?}; {} probes; recovered {recovered:?} after the return; {stats:?}",
        book.calls,
        book.errors.len(),
        book.slowest,
        book.slack,
        book.while_open.len(),
        book.while_open.get(book.while_open.len() / 2),
        stats.probes,
    );
    assert!(book.errors.is_empty(), "{:?}", book.errors.first());
    assert!(book.wrong.is_empty(), "{:?}", book.wrong.first());
    let bound = DEADLINE + book.slack;
    assert!(
        book.slowest <= bound,
        "a call took {:?} > {bound:?}",
        book.slowest
    );
    assert!(book.while_open.len() > 1_000, "too few calls to tell");
    assert!(
        p99 <= Duration::from_millis(1),
        "{p99:?} while the circuit was open"
    );
    assert!(recovered <= RECOVERY + book.slack, "{recovered:?}");
    // A caller meets its deadline once, or twice where it began its first call before the stall was complete.
    assert!(
        opened <= DEADLINE * 2 + FAILING_FOR + book.slack,
        "open only after {opened:?}"
    );

    // It opened and closed once, and what reached the backend meanwhile were the calls that were under way when
    // it opened, and one probe at a time, at least half a second apart.
    assert_eq!((stats.opened, stats.closed), (1, 1));
    let away = u64::try_from((returned.saturating_duration_since(struck) + recovered).as_millis())?;
    assert!(
        stats.probes <= away / 500 + 1,
        "{} probes in {away} ms",
        stats.probes
    );
    let changes = changes.0.lock().unwrap_or_else(PoisonError::into_inner);
    let last = changes.last().context("no change was told")?;
    assert_eq!(last.to, BreakerState::Closed);
    let stragglers = u64::try_from(CALLERS)?;
    assert!(last.calls <= stats.probes + stragglers, "a stampede: {last:?}");
    assert!(outage.bypassed > 1_000 && outage.shed > 1_000, "{outage:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_client_that_fails_costs_no_caller_an_error() -> Result<()> {
    nobody_sees_an_error(Backend::memory(), Blow::Killed, Duration::from_secs(2)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_client_that_hangs_costs_no_caller_an_error() -> Result<()> {
    nobody_sees_an_error(Backend::memory(), Blow::Stalled, Duration::from_secs(2)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_costs_no_caller_an_error() -> Result<()> {
    nobody_sees_an_error(Backend::single().await?, Blow::Killed, SHORT).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_server_costs_no_caller_an_error_for_half_a_minute() -> Result<()> {
    nobody_sees_an_error(Backend::single().await?, Blow::Stalled, LONG).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_cluster_costs_no_caller_an_error() -> Result<()> {
    nobody_sees_an_error(Backend::cluster().await?, Blow::Killed, SHORT).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_cluster_costs_no_caller_an_error() -> Result<()> {
    nobody_sees_an_error(Backend::cluster().await?, Blow::Stalled, SHORT).await
}
