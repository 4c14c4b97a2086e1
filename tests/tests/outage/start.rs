//! Scenario 68: the backend is down when the service starts, guarded.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_core::config::Startup;
use cache_core::{CacheClient as _, Ttl, clock};
use cache_layers::guarded::OnFailure;
use cache_layers::{Guarded, GuardedConfig};
use tests::until;

use crate::backend::{Backend, Blow, LIMIT};
use crate::callers::Callers;

const DEADLINE: Duration = Duration::from_millis(100);

async fn a_service_starts_without(mut backend: Backend) -> Result<()> {
    backend.strike(Blow::Killed)?;
    // With `fail` there is no client, hence nothing to guard.
    let refused = backend.connect(Startup::Fail).await.err();
    let refused = refused.context("it started")?.to_string();
    assert!(refused.contains("no connection"), "{refused}");

    let config = GuardedConfig::builder()
        .deadline(DEADLINE)
        .on_failure(OnFailure::Bypass);
    let client = backend.connect(Startup::Degrade).await?;
    let cache = Arc::new(Guarded::new(client, config.build()?));
    let callers = Callers::start(&cache, 8)?;
    until(LIMIT, "the circuit to open", || async {
        Ok((cache.stats().opened > 0).then_some(()))
    })
    .await?;
    assert!(cache.ping().await.is_err());

    backend.restore(Blow::Killed).await?;
    let returned = clock::now();
    callers.until_hits(100).await?;
    let used = returned.elapsed();
    let book = callers.stop().await;
    println!(
        "used {used:?} after the start of the backend; slowest call {:?}",
        book.slowest
    );
    assert!(book.errors.is_empty(), "{:?}", book.errors.first());
    assert!(book.slowest <= DEADLINE + book.slack, "{:?}", book.slowest);
    assert!(used <= Duration::from_secs(3) + book.slack, "{used:?}");
    cache.set("key", "value".into(), Ttl::Forever).await?;
    assert_eq!(cache.get("key").await?, "value");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_starts_without_its_server_and_uses_it_once_it_is_there() -> Result<()> {
    a_service_starts_without(Backend::single().await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_starts_without_its_cluster_and_uses_it_once_it_is_there() -> Result<()> {
    a_service_starts_without(Backend::cluster().await?).await
}
