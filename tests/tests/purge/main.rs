//! The engine of `cache-admin` against real clusters that are hurt in the middle of its work. Each hazard has a
//! file; what they share is here.
//!
//! Sizes are those of a build machine. At full size by two variables of the environment:
//!
//! ```text
//! PURGE_KEYS=1000000 PURGE_ROUNDS=20 cargo nextest run --release -p tests --test purge
//! ```
//!
//! `PURGE_KEYS` (20,000) is how many keys match; as many others have to stay. `PURGE_ROUNDS` (3) is how often a
//! cluster is hurt at random moments. Times are printed, and asserted where they are ratios of one run.

mod belonging;
mod cost;
mod estimating;
mod failing;
mod identity;
mod moving;
mod pace;
mod resuming;
mod sizes;
mod speed;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_admin::{Engine, ValkeyKeys};
use cache_core::config::{Topology, ValkeyConfig};
use cache_core::{CacheClient as _, Pattern, Ttl};
use cache_valkey::ValkeyClient;

/// How long a test waits for something that must happen.
const LIMIT: Duration = Duration::from_secs(30);

/// Keys that one batch stores.
const BATCH: usize = 1_000;

/// A client of the cluster or the server at these addresses, and an engine over its keys.
async fn engine(addresses: &[String], clustered: bool) -> Result<(Arc<ValkeyClient>, Engine)> {
    let seeds = addresses
        .iter()
        .map(|address| address.parse())
        .collect::<Result<Vec<_>, _>>()?;
    let topology = if clustered {
        Topology::cluster(seeds)
    } else {
        Topology::single(seeds.into_iter().next().context("no address")?)
    };
    let client = ValkeyClient::connect(&ValkeyConfig::new(topology)).await?;
    let engine = Engine::new(ValkeyKeys::new(&client));
    Ok((Arc::new(client), engine))
}

/// Stores keys of 100 bytes, several batches at a time.
async fn fill(client: &Arc<ValkeyClient>, keys: impl Iterator<Item = String>) -> Result<()> {
    let mut batches = tokio::task::JoinSet::new();
    let mut keys = keys.peekable();
    while keys.peek().is_some() {
        let batch: Vec<String> = keys.by_ref().take(BATCH).collect();
        let client = Arc::clone(client);
        if batches.len() >= 8 {
            batches.join_next().await.context("a batch")???;
        }
        batches.spawn(async move {
            let value = bytes::Bytes::from_static(&[b'x'; 100]);
            let entries: Vec<_> = batch.iter().map(|key| (key.as_str(), value.clone())).collect();
            client.set_many(&entries, Ttl::Forever).await
        });
    }
    while let Some(stored) = batches.join_next().await {
        stored??;
    }
    Ok(())
}

fn pattern(text: &str) -> Result<Pattern> {
    Ok(Pattern::new(text)?)
}

fn size() -> u64 {
    variable("PURGE_KEYS").unwrap_or(20_000)
}

fn rounds() -> u64 {
    variable("PURGE_ROUNDS").unwrap_or(3)
}

fn variable(name: &str) -> Option<u64> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the size of a test; no setting of the cache"
    )]
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

/// A watch that fires once the run has removed `keys` keys on some primary.
fn after(
    keys: u64,
) -> (
    Arc<tokio::sync::Notify>,
    impl Fn(&cache_admin::Event) + Send + Sync,
) {
    let reached = Arc::new(tokio::sync::Notify::new());
    let tell = Arc::clone(&reached);
    let observer = move |event: &cache_admin::Event| {
        if let cache_admin::Event::Page { counts, .. } = event
            && counts.removed >= keys
        {
            tell.notify_one();
        }
    };
    (reached, observer)
}
