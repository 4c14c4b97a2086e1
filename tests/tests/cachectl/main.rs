//! `cachectl` against real servers: what an operator sees on a cluster that is well and on one that is not.

mod identity;
mod looking;
mod migrating;
mod moving;
mod piped;
mod raw;
mod removing;
mod roles;
mod watching;

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_core::config::{Topology, ValkeyConfig};
use cache_core::{CacheClient as _, Ttl};
use cache_valkey::ValkeyClient;
use serde_json::Value;
use tests::Cluster;
use tokio::process::Command;

/// How long a test waits for something that must happen.
const LIMIT: Duration = Duration::from_secs(20);

/// What a run left behind.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: Vec<u8>,
    err: String,
}

impl Ran {
    /// The last line of standard output, as JSON.
    fn json(&self) -> Result<Value> {
        let text = std::str::from_utf8(&self.out)?;
        let line = text
            .lines()
            .last()
            .with_context(|| format!("no output: {}", self.err))?;
        Ok(serde_json::from_str(line)?)
    }
}

/// Runs `cachectl` against the servers at `addresses`.
async fn cachectl(mode: &str, addresses: &[String], arguments: &[&[u8]]) -> Result<Ran> {
    cachectl_with(mode, addresses, &[], arguments).await
}

/// As [`cachectl`], with more variables.
async fn cachectl_with(
    mode: &str,
    addresses: &[String],
    variables: &[(&str, &str)],
    arguments: &[&[u8]],
) -> Result<Ran> {
    use std::os::unix::ffi::OsStrExt as _;
    let output = Command::new(tests::cachectl().await?)
        .args(
            arguments
                .iter()
                .map(|argument| std::ffi::OsStr::from_bytes(argument)),
        )
        .env_clear()
        .env("CACHE_MODE", mode)
        .env("CACHE_ADDRS", addresses.join(","))
        .env("CACHE_DIAL_TIMEOUT", "1s")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await?;
    let code = output.status.code().context("ended by a signal")?;
    Ok(Ran {
        code,
        out: output.stdout,
        err: String::from_utf8(output.stderr)?,
    })
}

/// Stores `keys`, in batches.
async fn fill(addresses: &[String], keys: impl Iterator<Item = String>) -> Result<()> {
    let seeds = addresses
        .iter()
        .map(|address| address.parse())
        .collect::<Result<Vec<_>, _>>()?;
    let client = ValkeyClient::connect(&ValkeyConfig::new(Topology::cluster(seeds))).await?;
    let keys: Vec<String> = keys.collect();
    for batch in keys.chunks(1_000) {
        let entries: Vec<_> = batch.iter().map(|key| (key.as_str(), "value".into())).collect();
        client.set_many(&entries, Ttl::Forever).await?;
    }
    Ok(client.close().await?)
}

async fn sizes(cluster: &Cluster) -> Result<Vec<i64>> {
    let mut sizes = Vec::new();
    for node in cluster.nodes() {
        sizes.push(node.call(&["DBSIZE"]).await?.integer().context("DBSIZE")?);
    }
    Ok(sizes)
}
