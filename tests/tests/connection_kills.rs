//! A thousand connections killed at random under load: no answer is wrong or somebody else's, nothing is done
//! twice, and nothing is left behind: no task, no descriptor, no memory.
//!
//! A program of its own, because it counts what this process has.

#[path = "faults/lateness.rs"]
mod lateness;
#[path = "faults/load.rs"]
#[expect(dead_code, reason = "shared with the other faults, which ask for more")]
mod load;
#[path = "faults/setup.rs"]
#[expect(dead_code, reason = "shared with the other faults, which ask for more")]
mod setup;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use cache_core::config::{Topology, ValkeyConfig};
use cache_core::{CacheClient, Ttl};
use cache_valkey::ValkeyClient;
use rand::Rng as _;
use tests::{
    Cluster, ClusterOptions, Proxy, SentinelOptions, SentinelSet, Server, ServerOptions, Version, until,
};

use load::{Load, Loss};
use setup::{LIMIT, address, single, watched};

const KILLS: usize = 1_000;

/// What this process has.
#[derive(Clone, Copy, Debug)]
struct Owned {
    tasks: usize,
    descriptors: usize,
    /// Resident memory in KiB.
    memory: u64,
}

fn owned() -> Result<Owned> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let memory = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok())
        .context("no VmRSS")?;
    Ok(Owned {
        tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        descriptors: std::fs::read_dir("/proc/self/fd")?.count(),
        memory,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_killed_connections_lead_to_no_wrong_answer_and_leave_nothing_behind() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let proxy = Proxy::start(server.address()).await?;
    let before = owned()?;
    let config = single(&proxy.address())?;
    let client: Arc<dyn CacheClient> = Arc::new(ValkeyClient::connect(&config).await?);
    // What is only ever made once is made by a first, shorter run.
    hurt(&client, &server, &proxy, "warm", KILLS / 10).await?;
    let idle = settled(&client, |_| true).await?;

    let summary = hurt(&client, &server, &proxy, "kill", KILLS).await?;
    let after = settled(&client, |now| {
        now.tasks <= idle.tasks && now.descriptors <= idle.descriptors
    })
    .await?;
    println!("{KILLS} kills; {summary}; before {idle:?}, after {after:?}");
    let grown = after.memory.saturating_sub(idle.memory);
    assert!(grown < 16 * 1024, "{grown} KiB more than before");

    client.close().await?;
    drop(client);
    until(LIMIT, "the client's last task and descriptor to go", || async {
        let now = owned()?;
        Ok((now.tasks <= before.tasks && now.descriptors <= before.descriptors).then_some(()))
    })
    .await
}

/// Kills connections under load, each after a few more calls have succeeded.
async fn hurt(
    client: &Arc<dyn CacheClient>,
    server: &Server,
    proxy: &Proxy,
    name: &str,
    kills: usize,
) -> Result<String> {
    let keys: Vec<String> = (0..16).map(|number| format!("{name}:{number}")).collect();
    let load = Load::start(client, &keys, Loss::Nothing)?;
    let mut steering = server.connect().await?;
    let mut killed = 0;
    while killed < kills {
        killed += if rand::random() {
            usize::from(proxy.cut_one(rand::rng().random_range(0..1_000)))
        } else {
            let gone = steering
                .call(&["CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES"])
                .await?;
            usize::try_from(gone.integer().unwrap_or(0))?
        };
        load.until_succeeded(rand::rng().random_range(1..4)).await?;
    }
    let mut report = load.stop().await?;
    let summary = report.summary();
    report.check(single(&proxy.address())?.read_timeout);
    for failure in report.failures() {
        anyhow::ensure!(failure.error.is_transient(), "{}", failure.error);
    }
    report.settle(&**client).await;
    Ok(summary)
}

/// What this process has once the client works and that is as it should be.
async fn settled(client: &Arc<dyn CacheClient>, is_fine: impl Fn(&Owned) -> bool) -> Result<Owned> {
    until(LIMIT, "what the kills left behind to go", || async {
        client.ping().await?;
        let now = owned()?;
        anyhow::ensure!(is_fine(&now), "{now:?}");
        Ok(Some(now))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_closed_ends_its_tasks_although_somebody_still_holds_it() -> Result<()> {
    let set = SentinelSet::start(SentinelOptions::new()).await?;
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let topology = Topology::cluster([address(&cluster.node(0).address())?]);
    for (name, config) in [
        ("single", single(&server.address())?),
        ("sentinel", watched(&set.addresses())?),
        ("cluster", ValkeyConfig::new(topology)),
    ] {
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        let client = ValkeyClient::connect(&config).await?;
        client.set("key", "value".into(), Ttl::Forever).await?;
        assert!(tasks() > before, "{name}: nothing to count");
        client.close().await?;
        until(LIMIT, "the tasks of a closed client to end", || async {
            Ok((tasks() <= before).then_some(()))
        })
        .await
        .with_context(|| format!("{name}: {} tasks more", tasks() - before))?;
        assert!(client.get("key").await.is_err());
    }
    Ok(())
}
