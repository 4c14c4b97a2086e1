//! The doctor of `cache-admin` on real servers: of a healthy cache it has nothing to say, and each thing that is
//! broken is named by the check whose business it is.

mod broken;
mod certificates;
mod healthy;
mod identity;
mod network;
mod users;

use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_admin::{Diagnosis, Doctor, Finding, Health};
use cache_core::CacheConfig;
use cache_core::config::{Topology, ValkeyConfig};
use tests::{ServerOptions, Version};

/// How long a test waits for something that must happen.
const LIMIT: Duration = Duration::from_secs(30);

/// A server with which nothing is wrong: it has a limit of memory, and evicts.
fn sound() -> ServerOptions {
    let server = ServerOptions::new(Version::Valkey8).line("maxmemory 100mb");
    server.line("maxmemory-policy allkeys-lru")
}

fn single(address: &str) -> Result<ValkeyConfig> {
    Ok(valkey(Topology::single(address.parse()?)))
}

fn cluster(addresses: &[String]) -> Result<ValkeyConfig> {
    let seeds = addresses.iter().map(|address| address.parse());
    Ok(valkey(Topology::cluster(seeds.collect::<Result<Vec<_>, _>>()?)))
}

fn valkey(topology: Topology) -> ValkeyConfig {
    ValkeyConfig::new(topology)
        .with_dial_timeout(Duration::from_secs(2))
        .with_read_timeout(Duration::from_secs(2))
}

fn doctor(valkey: ValkeyConfig) -> Result<Doctor> {
    Ok(Doctor::new(CacheConfig::builder().valkey(valkey).build()?))
}

async fn examine(valkey: ValkeyConfig) -> Result<Diagnosis> {
    Ok(doctor(valkey)?.examine().await)
}

/// The checks that found something, with how bad it is. That calls are slow is no news on a busy machine.
fn found(diagnosis: &Diagnosis) -> Vec<(&'static str, Health)> {
    let told = |finding: &&Finding| finding.state >= Health::Warn && finding.check != "latency";
    let found = diagnosis.findings.iter().filter(told);
    found.map(|finding| (finding.check, finding.state)).collect()
}

/// That this check alone found something, and what it saw.
#[track_caller]
fn only(diagnosis: &Diagnosis, check: &'static str, state: Health) -> String {
    assert_eq!(found(diagnosis), [(check, state)], "{diagnosis:#?}");
    let finding = diagnosis.of(check);
    assert!(
        finding.is_some_and(|finding| finding.advice.is_some()),
        "{finding:?}"
    );
    finding.map(|finding| finding.seen.clone()).unwrap_or_default()
}

fn state(diagnosis: &Diagnosis, check: &str) -> Result<Health> {
    Ok(diagnosis.of(check).context("no such check")?.state)
}
