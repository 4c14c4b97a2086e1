//! The name of the server changes its addresses, or has several.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use cache_core::clock;
use cache_core::{CacheClient as _, CacheError, Ttl, Unavailability};
use cache_valkey::{Resolve, ValkeyClient};
use tests::{Server, ServerOptions, Version, until};

use crate::setup::{LIMIT, single};

/// A name service of one name.
#[derive(Debug, Default)]
struct Names(Mutex<Vec<SocketAddr>>);

impl Names {
    fn of(servers: &[&Server]) -> Arc<Self> {
        let names = Arc::new(Self::default());
        names.lead_to(servers);
        names
    }

    fn lead_to(&self, servers: &[&Server]) {
        *self.addresses() = servers
            .iter()
            .map(|server| SocketAddr::from((server.host(), server.port())))
            .collect();
    }

    fn addresses(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        assert_eq!(host, "cache.test");
        Ok(self.addresses().clone())
    }
}

async fn client(names: &Arc<Names>) -> Result<ValkeyClient> {
    let mut config = single("cache.test:6379")?;
    config.dial_timeout = Duration::from_secs(3);
    let client = ValkeyClient::builder(&config).resolver(Arc::clone(names) as Arc<dyn Resolve>);
    Ok(client.connect().await?)
}

async fn server(name: &str) -> Result<Server> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    server.call(&["SET", "name", name]).await?;
    Ok(server)
}

#[tokio::test]
async fn a_name_that_moves_is_followed_when_the_old_server_goes() -> Result<()> {
    let (old, new) = (server("old").await?, server("new").await?);
    let names = Names::of(&[&old]);
    let client = client(&names).await?;
    assert_eq!(client.get("name").await?, "old");
    names.lead_to(&[&new]);
    assert_eq!(client.get("name").await?, "old", "what works is left alone");
    old.kill()?;
    let started = clock::now();
    let found = until(LIMIT, "the new address", || async {
        Ok(client.get("name").await.ok())
    })
    .await?;
    println!("found at its new address after {:?}", started.elapsed());
    assert_eq!(found, "new");
    Ok(())
}

#[tokio::test]
async fn a_name_that_is_gone_for_a_while_is_found_again() -> Result<()> {
    let server = server("one").await?;
    let names = Names::of(&[&server]);
    let client = client(&names).await?;
    names.lead_to(&[]);
    server.restart().await?;
    let error = until(LIMIT, "the name to be missed", || async {
        Ok(client.get("name").await.err().filter(|error| !error.is_miss()))
    })
    .await?;
    assert!(
        matches!(
            &error,
            CacheError::Unavailable {
                reason: Unavailability::Resolve | Unavailability::Lost,
                ..
            }
        ),
        "{error}"
    );
    names.lead_to(&[&server]);
    until(LIMIT, "the name to be found again", || async {
        Ok(client.set("name", "one".into(), Ttl::Forever).await.ok())
    })
    .await?;
    assert_eq!(client.get("name").await?, "one");
    Ok(())
}

#[tokio::test]
async fn of_several_addresses_the_first_that_is_dead_costs_nothing_but_time() -> Result<()> {
    let (dead, live) = (server("dead").await?, server("live").await?);
    dead.kill()?;
    let names = Names::of(&[&dead, &live]);
    assert_eq!(client(&names).await?.get("name").await?, "live");
    Ok(())
}

#[tokio::test]
async fn of_several_addresses_the_first_that_accepts_and_never_answers_is_passed_over() -> Result<()> {
    let (stalled, live) = (server("stalled").await?, server("live").await?);
    stalled.pause()?;
    let names = Names::of(&[&stalled, &live]);
    let started = clock::now();
    assert_eq!(client(&names).await?.get("name").await?, "live");
    println!("connected past a stalled address after {:?}", started.elapsed());
    Ok(())
}

#[tokio::test]
async fn the_other_address_of_a_name_serves_when_the_first_one_dies() -> Result<()> {
    let (first, second) = (server("first").await?, server("second").await?);
    let names = Names::of(&[&first, &second]);
    let client = client(&names).await?;
    assert_eq!(client.get("name").await?, "first");
    first.kill()?;
    let found = until(LIMIT, "the other address", || async {
        Ok(client.get("name").await.ok())
    })
    .await?;
    assert_eq!(found, "second");
    Ok(())
}
