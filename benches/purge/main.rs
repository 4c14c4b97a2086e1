//! Removals by pattern at full size: `cargo bench -p benches --bench purge [-- --quick]`.
//!
//! Real servers on loopback, values of 100 bytes. On one primary half of the keys match: beside the pipe of
//! `valkey-cli` that operators type today, with and without the second visit that verifies, and the two ways to
//! remove keys of a cluster. Then three primaries at once, the keys of one hash tag among all of them, what
//! other clients notice of a gentle run, and what a run takes of this process's memory.
//!
//! Sizes: `--keys N` (2,000,000; 100,000 with `--quick`) on one primary and in the cluster, `--memory-keys N`
//! (10,000,000; 500,000 with `--quick`) for memory. `--only PART` measures one part: memory, one, ways, three, gentle.

mod gentle;
mod memory;
mod one;
mod pipe;
mod three;
mod usage;
mod ways;

use std::io::Write as _;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use cache_admin::{Engine, Outcome, Report, ValkeyKeys};
use cache_core::config::{Topology, ValkeyConfig};
use cache_core::{CacheClient as _, Pattern, Ttl};
use cache_valkey::ValkeyClient;
use tests::{Server, ServerOptions, Version};

/// Keys that one batch stores.
const BATCH: usize = 1_000;

/// How large, and how often.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    keys: u64,
    memory_keys: u64,
    rounds: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return Ok(());
    }
    let sizes = Sizes::from_arguments()?;
    let only = argument("--only");
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    // One after the other, and told at once: at full size it takes some minutes.
    if wanted("memory") {
        memory::measure(sizes).await?;
    }
    if wanted("one") {
        one::measure(sizes).await?;
    }
    if wanted("ways") {
        ways::measure(sizes).await?;
    }
    if wanted("three") {
        three::measure(sizes).await?;
    }
    if wanted("gentle") {
        gentle::measure(sizes).await?;
    }
    Ok(())
}

/// What stands behind `name` on the command line.
fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

impl Sizes {
    fn from_arguments() -> Result<Self> {
        let quick = std::env::args().any(|argument| argument == "--quick");
        let number = |name: &str, full, small| -> Result<u64> {
            let Some(text) = argument(name) else {
                return Ok(if quick { small } else { full });
            };
            text.parse()
                .with_context(|| format!("{name} takes a whole number, not {text:?}"))
        };
        Ok(Self {
            keys: number("--keys", 2_000_000, 100_000)?,
            memory_keys: number("--memory-keys", 10_000_000, 500_000)?,
            rounds: if quick { 1 } else { 3 },
        })
    }
}

fn say(line: impl std::fmt::Display) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{line}")?)
}

/// A server that makes keys up by itself when told to.
async fn server() -> Result<Server> {
    Server::start(ServerOptions::new(Version::Valkey8).line("enable-debug-command yes")).await
}

/// Makes the server hold `keys` keys `name:0` and so on, with values of so many bytes. Those that are there stay.
async fn populate(server: &Server, name: &str, keys: u64, bytes: u32) -> Result<()> {
    let (keys, bytes) = (keys.to_string(), bytes.to_string());
    server.call(&["DEBUG", "POPULATE", &keys, name, &bytes]).await?;
    Ok(())
}

/// An engine over the keys behind `addresses`, and its client.
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

/// Stores keys with values of 100 bytes, wherever they belong, several batches at a time.
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
            let value = Bytes::from_static(&[b'x'; 100]);
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

/// That a run removed what it should have.
fn check(report: &Report, removed: u64) -> Result<()> {
    anyhow::ensure!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    anyhow::ensure!(report.total().removed == removed, "{report:?}");
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a benchmark are far below 2^52"
)]
const fn float(count: u64) -> f64 {
    count as f64
}
