//! Scenario 69: while the cache is away, values are loaded without it; when it is back, each is loaded once more
//! and then no more, however many ask for it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use cache_core::CacheClient as _;
use cache_core::config::Startup;
use cache_layers::guarded::{BreakerState, OnFailure};
use cache_layers::read_through::{Coordination, RefreshAhead};
use cache_layers::{Guarded, GuardedConfig, Loaded, ReadThrough, ReadThroughConfig};
use tests::until;
use tokio::task::JoinSet;

use crate::backend::{Backend, Blow, LIMIT};

const KEYS: usize = 8;
const CALLERS: usize = 64;
const LOAD: Duration = Duration::from_millis(20);

async fn loads_go_on(mut backend: Backend, blow: Blow) -> Result<()> {
    let config = GuardedConfig::builder()
        .deadline(Duration::from_millis(100))
        .on_failure(OnFailure::Bypass);
    let client = backend.connect(Startup::Fail).await?;
    let cache = Arc::new(Guarded::new(client, config.build()?));
    let config = ReadThroughConfig::builder()
        .refresh_ahead(RefreshAhead::Never)
        .coordination(Coordination::Fleet {
            lease: Duration::from_secs(2),
        });
    let values = ReadThrough::new(Arc::<Guarded>::clone(&cache) as _, config.build()?);
    let (loads, answers, stop) = (
        Arc::<AtomicU64>::default(),
        Arc::<AtomicU64>::default(),
        Arc::<AtomicBool>::default(),
    );
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (values, loads) = (values.clone(), Arc::clone(&loads));
        let (answers, stop) = (Arc::clone(&answers), Arc::clone(&stop));
        callers.spawn(async move {
            let key = format!("loads:{}", caller % KEYS);
            while !stop.load(Ordering::Relaxed) {
                let loads = Arc::clone(&loads);
                let load = move || async move {
                    loads.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(LOAD).await;
                    Ok::<_, io::Error>(Loaded::new("value"))
                };
                let answer = values.get_or_load(&key, load).await?;
                anyhow::ensure!(answer.value.as_deref() == Some(b"value"), "{answer:?}");
                answers.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        });
    }
    let answered = async |more: u64| {
        let wanted = answers.load(Ordering::Relaxed) + more;
        until(LIMIT, "answers", || async {
            Ok((answers.load(Ordering::Relaxed) >= wanted).then_some(()))
        })
        .await
    };
    answered(2_000).await?;
    assert_eq!(
        loads.load(Ordering::Relaxed),
        u64::try_from(KEYS)?,
        "one load per key"
    );

    backend.strike(blow)?;
    until(LIMIT, "the circuit to open", || async {
        Ok((cache.state() != BreakerState::Closed).then_some(()))
    })
    .await?;
    let before = loads.load(Ordering::Relaxed);
    answered(1_000).await?;
    let without = loads.load(Ordering::Relaxed) - before;
    assert!(without > 0, "answers without a backend, and without a load");

    backend.restore(blow).await?;
    until(LIMIT, "the circuit to close", || async {
        Ok((cache.state() == BreakerState::Closed).then_some(()))
    })
    .await?;
    // A probe is of one key: that all primaries are in use again, the ping says.
    until(LIMIT, "the ping", || async { Ok(cache.ping().await.ok()) }).await?;
    let before = loads.load(Ordering::Relaxed);
    answered(5_000).await?;
    let after = loads.load(Ordering::Relaxed) - before;
    stop.store(true, Ordering::Relaxed);
    for ended in callers.join_all().await {
        ended?;
    }
    println!("{blow:?}: {without} loads for 1,000 answers without the cache, {after} after its return");
    // Of each key the load that was under way at that moment, and the one whose value is stored.
    assert!(
        after <= 2 * u64::try_from(KEYS)?,
        "{after} loads after the return"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loads_go_on_without_the_embedded_client_and_end_when_it_is_back() -> Result<()> {
    loads_go_on(Backend::memory(), Blow::Killed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loads_go_on_without_the_server_and_end_when_it_is_back() -> Result<()> {
    loads_go_on(Backend::single().await?, Blow::Killed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loads_go_on_without_the_cluster_and_end_when_it_is_back() -> Result<()> {
    loads_go_on(Backend::cluster().await?, Blow::Stalled).await
}
