//! The primary becomes a replica while its connections stay open, and another server takes its place: behind the same
//! name, at another address of the name, or at another configured address.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use cache_core::config::{ReadFrom, Startup, Topology, ValkeyConfig};
use cache_core::{CacheClient as _, CacheError, Ttl, clock};
use cache_layers::guarded::OnFailure;
use cache_layers::{Guarded, GuardedConfig};
use cache_valkey::{Resolve, ValkeyClient};
use tests::{Proxy, Server, ServerOptions, Version, until};

use crate::setup::{LIMIT, address, single};

/// How soon after a name has changed a write succeeds, and what a busy machine may add.
const SOON: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_millis(500);

/// A name service of one name.
#[derive(Debug)]
struct Name(Mutex<Vec<SocketAddr>>);

impl Name {
    fn of(addresses: &[String]) -> Result<Arc<Self>> {
        let name = Arc::new(Self(Mutex::default()));
        name.lead(addresses)?;
        Ok(name)
    }

    fn lead(&self, addresses: &[String]) -> Result<()> {
        let addresses: Result<Vec<SocketAddr>, _> = addresses.iter().map(|text| text.parse()).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = addresses?;
        Ok(())
    }
}

#[async_trait]
impl Resolve for Name {
    async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// A primary with a replica that follows, each behind a proxy that counts connections.
struct Pair {
    first: Server,
    second: Server,
    doors: [Proxy; 2],
}

impl Pair {
    async fn start() -> Result<Self> {
        let first = Server::start(ServerOptions::new(Version::Valkey8)).await?;
        let second = Server::start(ServerOptions::new(Version::Valkey8).replica_of(&first)).await?;
        until(LIMIT, "the replica to follow", || async {
            Ok((second.info("master_link_status").await? == "up").then_some(()))
        })
        .await?;
        let doors = [
            Proxy::start(first.address()).await?,
            Proxy::start(second.address()).await?,
        ];
        Ok(Self { first, second, doors })
    }

    fn doors(&self) -> [String; 2] {
        self.doors.each_ref().map(Proxy::address)
    }

    /// The two swap their roles.
    async fn swap(&self) -> Result<()> {
        // What was written so far is on both.
        until(LIMIT, "the replica to have what was written", || async {
            let has = async |server: &Server| server.call(&["GET", "key"]).await;
            Ok((has(&self.first).await? == has(&self.second).await?).then_some(()))
        })
        .await?;
        self.second.call(&["REPLICAOF", "NO", "ONE"]).await?;
        let (host, port) = (self.second.host().to_string(), self.second.port().to_string());
        self.first.call(&["REPLICAOF", &host, &port]).await?;
        Ok(())
    }
}

async fn named(name: &Arc<Name>) -> Result<ValkeyClient> {
    let config = single("cache.test:6379")?;
    let client = ValkeyClient::builder(&config).resolver(Arc::clone(name) as Arc<dyn Resolve>);
    Ok(client.connect().await?)
}

async fn is_written(client: &ValkeyClient) -> Result<Option<()>> {
    client.set("key", "new".into(), Ttl::Forever).await?;
    Ok(Some(()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_follow_the_name_although_the_old_connections_stay_open() -> Result<()> {
    let pair = Pair::start().await?;
    let [old, new] = pair.doors();
    let name = Name::of(&[old])?;
    let client = named(&name).await?;
    client.set("key", "old".into(), Ttl::Forever).await?;
    pair.swap().await?;
    let (began, dials) = (clock::now(), pair.doors[0].accepted());
    // The name service takes its time.
    let error = until(LIMIT, "four seconds of refused writes", || async {
        let error = client.set("key", "new".into(), Ttl::Forever).await.err();
        Ok(error.filter(|_| began.elapsed() > Duration::from_secs(4)))
    })
    .await?;
    assert!(
        error.is_transient() && error.to_string().contains("READONLY"),
        "{error}"
    );
    let (took, dialled) = (began.elapsed(), pair.doors[0].accepted() - dials);
    let ping = client.ping().await.unwrap_err();
    assert!(ping.to_string().contains("replica"), "{ping}");
    assert_eq!(client.get("key").await?, "old", "reads go on");

    name.lead(&[new])?;
    let changed = clock::now();
    until(LIMIT, "a write to succeed", || is_written(&client)).await?;
    let served = changed.elapsed();
    println!("served {served:?} after the name changed; {dialled} dials in {took:?} before");
    assert!(served < SOON + SLACK, "{served:?}");
    assert!(
        dialled > 0 && u64::try_from(dialled)? <= took.as_secs() + 1,
        "{dialled} dials in {took:?}"
    );
    client.ping().await?;
    assert_eq!(pair.second.call(&["GET", "key"]).await?.text(), "new");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bypassed_writes_reach_the_new_primary_as_soon_as_the_name_leads_there() -> Result<()> {
    let pair = Pair::start().await?;
    let [old, new] = pair.doors();
    let name = Name::of(&[old])?;
    let config = GuardedConfig::builder().on_failure(OnFailure::Bypass).build()?;
    let guarded = Guarded::new(Arc::new(named(&name).await?), config);
    guarded.set("key", "old".into(), Ttl::Forever).await?;
    pair.swap().await?;
    // Callers see no error. What tells an operator is the count, and the health check.
    let began = clock::now();
    while began.elapsed() < Duration::from_secs(4) {
        guarded.set("key", "dropped".into(), Ttl::Forever).await?;
    }
    assert!(guarded.stats().bypassed > 0, "{:?}", guarded.stats());
    assert!(guarded.ping().await.is_err(), "the health check sees no demotion");
    assert_eq!(pair.second.call(&["GET", "key"]).await?.text(), "old");

    name.lead(&[new])?;
    let changed = clock::now();
    until(LIMIT, "a write to arrive", || async {
        guarded.set("key", "new".into(), Ttl::Forever).await?;
        Ok((pair.second.call(&["GET", "key"]).await?.text() == "new").then_some(()))
    })
    .await?;
    let served = changed.elapsed();
    println!("a bypassed client: served {served:?} after the name changed");
    assert!(served < SOON + SLACK, "{served:?}");
    guarded.ping().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_addresses_of_a_name_the_primary_is_used() -> Result<()> {
    let pair = Pair::start().await?;
    let [primary, replica] = pair.doors();
    let name = Name::of(&[replica, primary])?;
    let client = named(&name).await?;
    client.set("key", "old".into(), Ttl::Forever).await?;
    pair.swap().await?;
    let swapped = clock::now();
    until(LIMIT, "a write to succeed", || is_written(&client)).await?;
    assert!(swapped.elapsed() < SOON + SLACK, "{:?}", swapped.elapsed());
    Ok(())
}

async fn fixed(addresses: &[String], read_from: ReadFrom) -> Result<ValkeyConfig> {
    let addresses = addresses
        .iter()
        .map(|text| address(text))
        .collect::<Result<_>>()?;
    let config = ValkeyConfig::new(Topology::Single { addresses, db: 0 });
    Ok(config.with_read_from(read_from))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_configured_addresses_the_primary_takes_the_writes() -> Result<()> {
    for read_from in [ReadFrom::Primary, ReadFrom::PreferReplica] {
        let pair = Pair::start().await?;
        let client = ValkeyClient::connect(&fixed(&pair.doors(), read_from).await?).await?;
        client.set("key", "old".into(), Ttl::Forever).await?;
        pair.swap().await?;
        let swapped = clock::now();
        until(LIMIT, "a write to succeed", || is_written(&client)).await?;
        let served = swapped.elapsed();
        println!("{read_from:?}: served {served:?} after the roles were swapped");
        assert!(served < SOON + SLACK, "{served:?}");
        client.ping().await?;
        assert_eq!(pair.second.call(&["GET", "key"]).await?.text(), "new");

        // Started anew, with the roles as they are now.
        let client = ValkeyClient::connect(&fixed(&pair.doors(), read_from).await?).await?;
        client.set("key", "newer".into(), Ttl::Forever).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_promoted_takes_writes_at_once() -> Result<()> {
    let pair = Pair::start().await?;
    let [_, replica] = pair.doors();
    let client = ValkeyClient::connect(&single(&replica)?).await?;
    let error = client.ping().await.unwrap_err();
    assert!(
        matches!(error, CacheError::Unavailable { .. }) && error.is_transient(),
        "{error:?}"
    );
    pair.swap().await?;
    until(LIMIT, "a write to succeed", || is_written(&client)).await?;
    until(LIMIT, "a ping to succeed", || async {
        client.ping().await?;
        Ok(Some(()))
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_started_without_any_server_finds_the_primary() -> Result<()> {
    let pair = Pair::start().await?;
    for door in &pair.doors {
        door.refuse().await;
    }
    let config = fixed(&pair.doors(), ReadFrom::Primary).await?;
    let client = ValkeyClient::builder(&config)
        .startup(Startup::Degrade)
        .connect()
        .await?;
    pair.swap().await?;
    for door in &pair.doors {
        door.accept().await?;
    }
    until(LIMIT, "a write to succeed", || is_written(&client)).await?;
    Ok(())
}
