//! Addresses that lead to another cluster, and configured addresses of several clusters: nothing is written or removed
//! where it does not belong.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cache_admin::{Engine, GapReason, Options, Outcome, ValkeyKeys};
use cache_core::config::{Address, Topology, ValkeyConfig};
use cache_core::slot::slot_of;
use cache_core::{CacheClient as _, CacheError, Ttl};
use cache_valkey::{Resolve, ValkeyClient};
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use tests::{Cluster, ClusterOptions, Proxy, Server, ServerOptions, Version, until};

use super::{LIMIT, engine, pattern, rounds};

/// Keys of the other team, in the other cluster.
const FOREIGN: u64 = 40;

/// Another team's cluster, which is newer than ours.
async fn foreign() -> Result<Cluster> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    for _ in 0..20 {
        cluster.node(0).call(&["CLUSTER", "BUMPEPOCH"]).await?;
    }
    let (client, _) = engine(&cluster.addresses(), true).await?;
    for number in 0..FOREIGN {
        client
            .set(&format!("team-b:{number}"), "theirs".into(), Ttl::Forever)
            .await?;
    }
    for node in cluster.nodes() {
        node.call(&["CONFIG", "RESETSTAT"]).await?;
    }
    Ok(cluster)
}

/// That nobody has written to `cluster` or removed anything there, nor tried to.
async fn is_untouched(cluster: &Cluster) -> Result<()> {
    ensure!(cluster.keys().await? == FOREIGN, "{} keys", cluster.keys().await?);
    for node in cluster.nodes() {
        let text = node.call(&["INFO", "commandstats"]).await?.text();
        let wrong = text.lines().filter(|line| {
            let name = line
                .strip_prefix("cmdstat_")
                .and_then(|line| line.split(':').next());
            matches!(
                name,
                Some("set" | "unlink" | "del" | "incr" | "get" | "scan" | "eval" | "evalsha")
            )
        });
        let wrong: Vec<&str> = wrong.collect();
        ensure!(wrong.is_empty(), "{}: {wrong:?}", node.address());
    }
    Ok(())
}

/// Writes and removes keys of all slots until told to stop; what fails is tried again.
fn load(client: &Arc<ValkeyClient>, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<u64> {
    let (client, stop) = (Arc::clone(client), Arc::clone(stop));
    tokio::spawn(async move {
        let mut done = 0;
        while !stop.load(Ordering::Relaxed) {
            let key = format!("team-b:{}", rand::rng().random_range(0..100_000));
            let stored = client.set(&key, "ours".into(), Ttl::Forever).await.is_ok();
            let _ = client.del(&[key.as_str()]).await;
            let _ = client.incr("team-b:counter").await;
            done += u64::from(stored);
        }
        done
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reused_address_leads_no_write_and_no_removal_to_another_cluster() -> Result<()> {
    let ours = Cluster::start(ClusterOptions::new(3, 1)).await?;
    let theirs = foreign().await?;
    let (client, engine) = engine(&ours.addresses()[..1], true).await?;
    for round in 0..rounds() {
        let slot = rand::rng().random_range(0..tests::cluster::SLOTS);
        let victim = ours.primary_of(slot).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..4).map(|_| load(&client, &stop)).collect();
        let moments: Vec<u64> = (0..3).map(|_| rand::rng().random_range(0..1_200)).collect();
        let wait = async |index: usize| tokio::time::sleep(Duration::from_millis(moments[index])).await;

        wait(0).await;
        ours.kill(victim)?;
        let place = SocketAddr::from((ours.node(victim).host(), ours.node(victim).port()));
        wait(1).await;
        let target = theirs.node(rand::rng().random_range(0..3)).address();
        let impostor = until(LIMIT, "the port to be free", || async {
            Ok(Some(Proxy::start_at(place, target.clone()).await?))
        })
        .await?;
        let purge = async {
            wait(2).await;
            let options = Options::default().with_patience(Duration::from_millis(500));
            engine.invalidate(&pattern("team-b:*")?, &options).await;
            anyhow::Ok(())
        };
        let (heir, purged) = tokio::join!(ours.wait_for_new_primary(slot, victim), purge);
        purged?;
        heir?;
        // A key of the slot that was struck.
        let key = (0..)
            .map(|n| format!("k{n}"))
            .find(|key| slot_of(key.as_bytes()) == slot);
        let key = key.context("a key of each slot")?;
        until(LIMIT, "the slot to be served by its heir", || async {
            client.set(&key, "ours".into(), Ttl::Forever).await?;
            Ok(Some(()))
        })
        .await?;
        let report = engine
            .invalidate(&pattern("team-b:*")?, &Options::default())
            .await;
        stop.store(true, Ordering::Relaxed);
        let mut written = 0;
        for writer in writers {
            written += writer.await?;
        }
        println!(
            "round {round}: {written} writes, {} connections to the impostor, then {}",
            impostor.accepted(),
            report.outcome.name()
        );
        ensure!(written > 0 && impostor.accepted() > 0, "nothing was tried");
        is_untouched(&theirs).await?;
        ensure!(client.ping().await.is_ok());
        impostor.refuse().await;
        ours.restart(victim).await?;
        ours.wait_until_ok().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configured_addresses_of_two_clusters_are_an_error_that_names_them() -> Result<()> {
    let ours = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let theirs = foreign().await?;
    for _ in 0..rounds() {
        let mut seeds = vec![ours.addresses()[0].clone(), ours.addresses()[1].clone()];
        seeds.push(theirs.addresses()[0].clone());
        seeds.shuffle(&mut rand::rng());
        // One of them hangs for a moment.
        let slow = match rand::rng().random_range(0..4) {
            0 => Some(ours.node(0)),
            1 => Some(ours.node(1)),
            2 => Some(theirs.node(0)),
            _ => None,
        };
        let moment = Duration::from_millis(rand::rng().random_range(0..400));
        if let Some(slow) = slow {
            slow.pause()?;
        }
        let waking = async {
            tokio::time::sleep(moment).await;
            slow.map_or(Ok(()), Server::resume)
        };
        let (engine, woken) = tokio::join!(engine(&seeds, true), waking);
        woken?;
        let error = match engine {
            Ok(_) => anyhow::bail!("connected to {seeds:?}"),
            Err(error) => error,
        };
        let error = error.downcast::<CacheError>()?;
        let text = error.to_string();
        ensure!(
            matches!(error, CacheError::Config(_)) && text.contains("CACHE_ADDRS"),
            "{text}"
        );
        ensure!(seeds.iter().all(|seed| text.contains(seed)), "{text}");
        is_untouched(&theirs).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_is_refused_once_a_configured_address_leads_to_another_cluster() -> Result<()> {
    let ours = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let theirs = foreign().await?;
    // At the start the one address leads nowhere.
    let stale = Proxy::start(theirs.addresses()[0].clone()).await?;
    stale.refuse().await;
    let seeds = [stale.address(), ours.addresses()[0].clone()];
    let (client, engine) = engine(&seeds, true).await?;
    client.set("team-b:0", "ours".into(), Ttl::Forever).await?;
    stale.accept().await?;
    let report = until(LIMIT, "the contradiction to be noticed", || async {
        let report = engine
            .invalidate(&pattern("team-b:*")?, &Options::default())
            .await;
        Ok((report.outcome.name() != "complete").then_some(report))
    })
    .await?;
    let Outcome::Failed { error } = &report.outcome else {
        anyhow::bail!("{:?}", report.outcome)
    };
    let text = error.to_string();
    ensure!(
        text.contains(&stale.address()) && text.contains("CACHE_ADDRS"),
        "{text}"
    );
    is_untouched(&theirs).await?;
    // Calls go on: they know their cluster.
    client.set("team-b:1", "ours".into(), Ttl::Forever).await?;
    Ok(())
}

/// A name service: the one name leads to the given server, addresses to themselves.
#[derive(Debug)]
struct Names(SocketAddr);

#[async_trait::async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        Ok(vec![host.parse().map_or(self.0, |ip| SocketAddr::new(ip, port))])
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_is_partial_if_primaries_share_an_address() -> Result<()> {
    // The first two announce one name and one port, as nodes behind one service name do.
    let door = Proxy::start("127.0.0.1:1").await?;
    let port = door.address().rsplit_once(':').context("a port")?.1.to_owned();
    let node = ServerOptions::new(Version::Valkey8).line("cluster-preferred-endpoint-type hostname");
    let mut options = ClusterOptions::new(3, 0).node(node);
    for index in 0..2 {
        options = options
            .line_for(index, "cluster-announce-hostname cache.test")
            .line_for(index, format!("cluster-announce-port {port}"));
    }
    options = options.line_for(2, "cluster-announce-hostname 127.0.0.1");
    let cluster = Cluster::start(options).await?;
    door.set_target(cluster.addresses()[0].clone());
    let mut connections = Vec::new();
    for node in cluster.nodes() {
        connections.push(node.connect().await?);
    }
    for number in 0..300 {
        let key = format!("shared:{number}");
        let owner = cluster.primary_of(slot_of(key.as_bytes())).await?;
        connections[owner].call(&["SET", &key, "1"]).await?;
    }
    let seed: Address = cluster.addresses()[2].parse()?;
    let names = Arc::new(Names(door.address().parse()?));
    let config = ValkeyConfig::new(Topology::cluster([seed]));
    let client = until(LIMIT, "every node to know the others' names", || async {
        let resolver = Arc::clone(&names) as Arc<dyn Resolve>;
        let client = ValkeyClient::builder(&config)
            .resolver(resolver)
            .connect()
            .await?;
        let view = client.administration().topology().await?;
        Ok((view.shared_addresses.len() == 1 && view.nodes.len() == 1).then_some(client))
    })
    .await?;
    let view = client.administration().topology().await?;
    let shared = &view.shared_addresses[0];
    assert_eq!(shared.address.to_string(), format!("cache.test:{port}"));
    let mut ids = [cluster.id(0), cluster.id(1)];
    ids.sort_unstable();
    assert_eq!(shared.nodes, ids);

    let engine = Engine::new(ValkeyKeys::new(&client));
    let options = Options::default().with_patience(Duration::from_millis(500));
    let report = engine.invalidate(&pattern("shared:*")?, &options).await;
    let Outcome::Partial { gaps } = &report.outcome else {
        anyhow::bail!("{:?}", report.outcome)
    };
    let unserved = gaps
        .iter()
        .filter(|gap| matches!(gap.reason, GapReason::Unserved));
    let unserved: u32 = unserved.filter_map(|gap| Some(gap.slots.as_ref()?.len())).sum();
    assert!(unserved > 10_000, "{gaps:?}");
    assert_eq!(report.total().removed + cluster.keys().await?, 300);
    assert!(cluster.keys().await? > 100);
    let key = (0..)
        .map(|n| format!("k{n}"))
        .find(|key| slot_of(key.as_bytes()) == 0);
    let error = client.set(&key.context("a key")?, "1".into(), Ttl::Forever).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("all go by the address cache.test"), "{error}");
    Ok(())
}
