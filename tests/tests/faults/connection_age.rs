//! Connections that reach their maximum age are replaced: no call fails, no old connection stays, and servers
//! see few dials.

#![expect(clippy::print_stdout, reason = "what was measured is printed")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_core::config::{ReadFrom, Topology, ValkeyConfig};
use cache_core::{CacheClient, Ttl, clock};
use cache_valkey::ValkeyClient;
use tests::{
    Certificates, Cluster, ClusterOptions, Connection, Proxy, SentinelOptions, SentinelSet, Server,
    ServerOptions, Tls, Version, until,
};
use tokio::task::JoinSet;

use crate::load::{Load, Loss};
use crate::setup::{LIMIT, address, single, tls, watched};

/// The deadline of calls, by default.
const DEADLINE: Duration = Duration::from_secs(3);

/// The maximum age in the long tests, and how often each connection is replaced in them: some 20 seconds.
const AGE: Duration = Duration::from_secs(3);
const GENERATIONS: usize = 7;

/// How long the long tests may take.
const LONG: Duration = Duration::from_secs(60);

/// A connection of this library, as its server shows it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) id: u64,
    /// In whole seconds.
    pub(crate) age: Duration,
    /// The last command.
    command: String,
}

/// The connections of this library to the server that `steering` leads to.
pub(crate) async fn connections(steering: &mut Connection) -> Result<Vec<Known>> {
    let list = steering.call(&["CLIENT", "LIST"]).await?.text();
    list.lines()
        .filter(|line| line.contains("lib-name=cache-valkey"))
        .map(|line| {
            let field = |name: &str| {
                let found = line
                    .split(' ')
                    .find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
                found.with_context(|| format!("no {name} in {line}"))
            };
            Ok(Known {
                id: field("id")?.parse()?,
                age: Duration::from_secs(field("age")?.parse()?),
                command: field("cmd")?.to_owned(),
            })
        })
        .collect()
}

/// What was seen of one server's connections over time.
struct Census {
    steering: Connection,
    ids: BTreeSet<u64>,
    oldest: Duration,
    most: usize,
    received: u64,
}

impl Census {
    async fn of(server: &Server) -> Result<Self> {
        let mut steering = server.connect().await?;
        Ok(Self {
            received: received(&mut steering).await?,
            steering,
            ids: BTreeSet::new(),
            oldest: Duration::ZERO,
            most: 0,
        })
    }

    async fn look(&mut self) -> Result<()> {
        let now = connections(&mut self.steering).await?;
        self.most = self.most.max(now.len());
        for known in now {
            self.oldest = self.oldest.max(known.age);
            self.ids.insert(known.id);
        }
        Ok(())
    }

    /// Connections that the server has accepted since the census began.
    async fn dials(&mut self) -> Result<u64> {
        Ok(received(&mut self.steering).await? - self.received)
    }
}

async fn received(steering: &mut Connection) -> Result<u64> {
    count(steering, "total_connections_received:").await
}

async fn rejected(steering: &mut Connection) -> Result<u64> {
    count(steering, "rejected_connections:").await
}

async fn count(steering: &mut Connection, name: &str) -> Result<u64> {
    let stats = steering.call(&["INFO", "stats"]).await?.text();
    let count = stats.lines().find_map(|line| line.strip_prefix(name));
    Ok(count
        .with_context(|| format!("INFO without {name}"))?
        .trim()
        .parse()?)
}

/// Uses `client` all the time until each of `servers` has seen `GENERATIONS` connections of each of `clients`
/// clients; no call may fail.
async fn no_call_fails(client: Arc<dyn CacheClient>, servers: &[&Server], clients: u64) -> Result<()> {
    let mut census = Vec::new();
    for server in servers {
        census.push(Census::of(server).await?);
    }
    let started = clock::now();
    let keys: Vec<_> = (0..8).map(|number| format!("age:{number}")).collect();
    let load = Load::start(&client, &keys, Loss::Nothing)?;
    let wanted = GENERATIONS * usize::try_from(clients)?;
    while census.iter().any(|server| server.ids.len() < wanted) {
        anyhow::ensure!(started.elapsed() < LONG, "the connections are not replaced");
        for server in &mut census {
            server.look().await?;
        }
        load.until_succeeded(50).await?;
    }
    let took = started.elapsed();
    let mut report = load.stop().await?;
    println!("{took:?}: {}", report.summary());
    assert_eq!(report.failures().count(), 0, "{:?}", report.failures().next());
    report.check(DEADLINE);
    report.settle(&*client).await;
    for server in &mut census {
        let dials = server.dials().await?;
        println!(
            "{} connections seen, {dials} dials, oldest {:?}, most at once {}",
            server.ids.len(),
            server.oldest,
            server.most
        );
        // The server counts whole seconds; the client looks twice a second, and dials once a second.
        let late = Duration::from_secs(2) + report.slack();
        assert!(server.oldest <= AGE + late, "{:?}", server.oldest);
        // One after 90 % of the age, for each client.
        let most = clients * (u64::try_from(took.as_millis() * 10 / (AGE.as_millis() * 9))? + 1);
        assert!(
            dials <= most,
            "{dials} dials in {took:?}, expected {most} at most"
        );
        assert!(
            server.most <= 2 * usize::try_from(clients)?,
            "{} at once",
            server.most
        );
    }
    Ok(())
}

fn aging(config: ValkeyConfig) -> ValkeyConfig {
    config.with_max_connection_age(AGE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_single_server_no_call_fails_while_connections_are_replaced() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let config = aging(single(&server.address())?);
    let client = Arc::new(ValkeyClient::connect(&config).await?);
    no_call_fails(client, &[&server], 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_no_call_fails_while_connections_are_replaced() -> Result<()> {
    let made = Certificates::generate()?;
    let server = Server::start(ServerOptions::new(Version::Valkey8).tls(Tls::new(&made))).await?;
    let config = aging(single(&server.address())?).with_tls(tls(Some(&made.ca), None));
    let client = Arc::new(ValkeyClient::connect(&config).await?);
    no_call_fails(client, &[&server], 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_no_call_fails_while_connections_are_replaced() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let seeds = [address(&cluster.addresses()[0])?];
    let config = aging(ValkeyConfig::new(Topology::cluster(seeds)));
    let client = Arc::new(ValkeyClient::connect(&config).await?);
    let servers: Vec<_> = cluster.nodes().iter().collect();
    no_call_fails(client, &servers, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_replicas_are_replaced_too() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(1, 1)).await?;
    let seeds = [address(&cluster.addresses()[0])?];
    let config = ValkeyConfig::new(Topology::cluster(seeds))
        .with_max_connection_age(Duration::from_secs(1))
        .with_read_from(ReadFrom::Replica);
    let client = ValkeyClient::connect(&config).await?;
    client.set("key", "value".into(), Ttl::Forever).await?;
    until(LIMIT, "the replica to have the value", || async {
        Ok(client.get("key").await.ok())
    })
    .await?;
    let replica = cluster.replicas_of(0).await?[0];
    let mut census = Census::of(cluster.node(replica)).await?;
    let started = clock::now();
    while census.ids.len() < 4 {
        anyhow::ensure!(started.elapsed() < LIMIT, "the connections are not replaced");
        assert_eq!(client.get("key").await?, "value");
        census.look().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_in_flight_on_the_old_connection_end_there() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    // On a slow network calls are in flight for longer than the client waits between two looks.
    let proxy = Proxy::start(server.address()).await?;
    proxy.delay(Duration::from_millis(350));
    let patience = Duration::from_secs(10);
    let config = single(&proxy.address())?
        .with_max_connection_age(Duration::from_secs(1))
        .with_dial_timeout(patience)
        .with_read_timeout(patience)
        .with_write_timeout(patience);
    let client: Arc<dyn CacheClient> = Arc::new(ValkeyClient::connect(&config).await?);
    let keys: Vec<_> = (0..4).map(|number| format!("slow:{number}")).collect();
    let load = Load::start(&client, &keys, Loss::Nothing)?;
    until(LIMIT, "connections to be replaced", || async {
        Ok((proxy.accepted() >= 4).then_some(()))
    })
    .await?;
    let mut report = load.stop().await?;
    println!("{} connections: {}", proxy.accepted(), report.summary());
    assert_eq!(report.failures().count(), 0, "{:?}", report.failures().next());
    report.settle(&*client).await;
    until(LIMIT, "the old connections to be closed", || async {
        Ok((proxy.open() <= 2).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_connection_stays_in_use_while_the_server_takes_no_new_one() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let config = single(&server.address())?.with_max_connection_age(Duration::from_secs(1));
    let client: Arc<dyn CacheClient> = Arc::new(ValkeyClient::connect(&config).await?);
    let mut steering = server.connect().await?;
    let first = connections(&mut steering).await?;
    assert_eq!(first.len(), 1, "{first:?}");
    // The two that are there, and no more.
    steering.call(&["CONFIG", "SET", "maxclients", "2"]).await?;
    let started = clock::now();
    let load = Load::start(&client, &["one".to_owned(), "two".to_owned()], Loss::Nothing)?;
    let mut refused = 0;
    while refused < 4 {
        anyhow::ensure!(
            started.elapsed() < LONG,
            "no more tries to replace the connection: {refused}"
        );
        load.until_succeeded(100).await?;
        refused = rejected(&mut steering).await?;
        let now = connections(&mut steering).await?;
        assert_eq!(
            now.iter().map(|known| known.id).collect::<Vec<_>>(),
            [first[0].id]
        );
    }
    println!("{refused} connections refused in {:?}", started.elapsed());
    // At 1 s, then after at least 1, 2 and 4 seconds.
    assert!(
        started.elapsed() >= Duration::from_secs(7),
        "{:?}",
        started.elapsed()
    );

    steering.call(&["CONFIG", "SET", "maxclients", "100"]).await?;
    while connections(&mut steering)
        .await?
        .iter()
        .any(|known| known.id == first[0].id)
    {
        anyhow::ensure!(started.elapsed() < LONG, "the connection is not replaced");
        load.until_succeeded(10).await?;
    }
    let report = load.stop().await?;
    println!("{}", report.summary());
    assert_eq!(report.failures().count(), 0, "{:?}", report.failures().next());
    report.check(DEADLINE);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_connections_at_most_one_is_replaced_per_second() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let config = single(&server.address())?
        .with_pool_size(4)
        .with_max_connection_age(Duration::from_secs(2));
    let client = Arc::new(ValkeyClient::connect(&config).await?);
    let mut census = Census::of(&server).await?;
    // Big values, each of which wants a connection that has none.
    let value = bytes::Bytes::from(vec![b'v'; 256 * 1024]);
    let crowd = || async {
        let mut calls = JoinSet::new();
        for _ in 0..16 {
            let (client, value) = (Arc::clone(&client), value.clone());
            calls.spawn(async move { client.set("key", value, Ttl::Forever).await });
        }
        for answer in calls.join_all().await {
            answer?;
        }
        anyhow::Ok(())
    };
    until(LIMIT, "several connections", || async {
        crowd().await?;
        let mut steering = server.connect().await?;
        Ok((connections(&mut steering).await?.len() >= 3).then_some(()))
    })
    .await?;
    census.received = received(&mut census.steering).await?;
    census.look().await?;
    let (first, started) = (census.ids.clone(), clock::now());
    loop {
        anyhow::ensure!(started.elapsed() < LONG, "not all connections are replaced");
        crowd().await?;
        let now = connections(&mut census.steering).await?;
        if now.iter().all(|known| !first.contains(&known.id)) {
            break;
        }
    }
    let (dials, took) = (census.dials().await?, started.elapsed());
    println!(
        "{} connections replaced by {dials} dials in {took:?}",
        first.len()
    );
    // What the pool still lacked may have been opened meanwhile.
    let growth = 4_u64.saturating_sub(u64::try_from(first.len())?);
    assert!(dials <= took.as_secs() + 1 + growth, "{dials} dials in {took:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_the_administration_are_replaced_and_stay_while_that_fails() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let config = single(&server.address())?.with_max_connection_age(Duration::from_secs(1));
    let client = ValkeyClient::connect(&config).await?;
    let administration = client.administration();
    let view = administration.topology().await?;
    let member = &administration.members_of(&view)[0];
    let mut steering = server.connect().await?;
    // That of the administration is the one that asked for the time.
    let mut ours = async || -> Result<Vec<u64>> {
        assert!(member.time().await?.is_some());
        let now = connections(&mut steering).await?;
        let ours = now.iter().filter(|known| known.command == "time");
        Ok(ours.map(|known| known.id).collect())
    };
    let first = ours().await?;
    assert_eq!(first.len(), 1);
    let started = clock::now();
    while ours().await? == first {
        anyhow::ensure!(started.elapsed() < LIMIT, "the connection is not replaced");
    }
    let second = ours().await?;
    server.call(&["CONFIG", "SET", "maxclients", "3"]).await?;
    let started = clock::now();
    // Longer than its age: it stays, and asking goes on.
    while started.elapsed() < Duration::from_secs(3) {
        assert_eq!(ours().await?, second);
    }
    assert!(rejected(&mut steering).await? > 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_sentinels_connections_to_the_primary_and_to_the_sentinel_are_replaced() -> Result<()> {
    let set = SentinelSet::start(SentinelOptions::new()).await?;
    let config = watched(&set.addresses())?.with_max_connection_age(Duration::from_secs(1));
    let client: Arc<dyn CacheClient> = Arc::new(ValkeyClient::connect(&config).await?);
    let primary = &set.servers()[set.primary().await?];
    let mut census = Census::of(primary).await?;
    let load = Load::start(&client, &["one".to_owned(), "two".to_owned()], Loss::Nothing)?;
    let started = clock::now();
    while census.ids.len() < 4 {
        anyhow::ensure!(started.elapsed() < LONG, "the connections are not replaced");
        load.until_succeeded(20).await?;
        census.look().await?;
    }
    let report = load.stop().await?;
    assert_eq!(report.failures().count(), 0, "{:?}", report.failures().next());

    // The sentinel is asked when something is in doubt; by then its connection is old.
    let mut sentinels = Vec::new();
    for sentinel in set.sentinels() {
        sentinels.push(Census::of(sentinel).await?);
    }
    for sentinel in &mut sentinels {
        sentinel.look().await?;
    }
    let before: usize = sentinels.iter().map(|sentinel| sentinel.ids.len()).sum();
    assert_eq!(before, 1);
    while sentinels.iter().map(|sentinel| sentinel.ids.len()).sum::<usize>() < 3 {
        anyhow::ensure!(
            started.elapsed() < LONG,
            "the connection to the sentinel is not replaced"
        );
        census
            .steering
            .call(&["CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES"])
            .await?;
        // A read is repeated, and raises the doubt.
        let _ = client.get("one").await;
        for sentinel in &mut sentinels {
            sentinel.look().await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_leads_to_another_server_is_followed_at_the_maximum_age() -> Result<()> {
    let old = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let new = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let proxy = Proxy::start(old.address()).await?;
    let config = single(&proxy.address())?.with_max_connection_age(Duration::from_secs(1));
    let client = ValkeyClient::connect(&config).await?;
    client.set("key", "value".into(), Ttl::Forever).await?;
    // The old server still takes writes, so nothing else would tell.
    proxy.set_target(new.address());
    let started = clock::now();
    while new.call(&["EXISTS", "key"]).await?.integer() != Some(1) {
        anyhow::ensure!(started.elapsed() < LIMIT, "the new server is never written to");
        client.set("key", "value".into(), Ttl::Forever).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_connection_to_the_primary_stays_while_its_address_leads_to_a_replica() -> Result<()> {
    let primary = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let replica = Server::start(ServerOptions::new(Version::Valkey8).replica_of(&primary)).await?;
    let proxy = Proxy::start(primary.address()).await?;
    let config = single(&proxy.address())?.with_max_connection_age(Duration::from_secs(1));
    let client = ValkeyClient::connect(&config).await?;
    client.incr("count").await?;
    proxy.set_target(replica.address());
    let dialed = proxy.accepted();
    let started = clock::now();
    while proxy.accepted() < dialed + 2 {
        anyhow::ensure!(started.elapsed() < LIMIT, "no try to replace the connection");
        client.incr("count").await?;
    }
    // Before new tries may reach the primary.
    let mut steering = primary.connect().await?;
    let first = connections(&mut steering).await?;
    assert_eq!(first.len(), 1, "{first:?}");
    proxy.set_target(primary.address());
    until(LIMIT, "another connection to the primary", || async {
        client.incr("count").await?;
        let now = connections(&mut primary.connect().await?).await?;
        Ok((now.len() == 1 && now[0].id != first[0].id).then_some(()))
    })
    .await
}
