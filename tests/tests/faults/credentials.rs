//! Credentials that run out: a connection authenticates again before they do, and outlives a source that
//! fails now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use cache_core::credentials::{Credentials, CredentialsSource, Refusal};
use cache_core::{CacheClient as _, CacheError, Ttl};
use cache_valkey::ValkeyClient;
use tests::{Server, ServerOptions, Version, until};

use crate::setup::{LIMIT, single};

/// Issues a password for a moment, and now and then nothing.
#[derive(Debug, Default)]
struct ShortLived {
    asked: AtomicUsize,
}

#[async_trait]
impl CredentialsSource for ShortLived {
    async fn credentials(&self) -> Result<Option<Credentials>, CacheError> {
        if self.asked.fetch_add(1, Ordering::SeqCst) == 1 {
            return Err(CacheError::Unauthorized {
                detail: "no token at the moment".into(),
                source: None,
            });
        }
        let life = Duration::from_millis(500);
        Ok(Some(Credentials::expiring(
            Some("service".to_owned()),
            "short-lived".into(),
            life,
        )))
    }

    fn refused(&self, _credentials: &Credentials) -> Refusal {
        Refusal::fatal()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_authenticates_again_before_its_credentials_run_out() -> Result<()> {
    let server = Server::start(
        ServerOptions::new(Version::Valkey8)
            .user("service on >short-lived ~* +@all")
            .user("default on nopass ~* +@all"),
    )
    .await?;
    let mut config = single(&server.address())?;
    // What a fruitless renewal is given until the next one is bounded by this, too.
    config.read_timeout = Duration::from_millis(600);
    let source = Arc::new(ShortLived::default());
    let client = ValkeyClient::builder(&config)
        .credentials(Arc::clone(&source) as _)
        .connect()
        .await?;
    client.set("key", "value".into(), Ttl::Forever).await?;
    let connection = async || -> Result<Vec<String>> {
        let list = server.call(&["CLIENT", "LIST"]).await?.text();
        let ours = list.lines().filter(|line| line.contains("user=service"));
        Ok(ours
            .filter_map(|line| line.split(' ').next().map(str::to_owned))
            .collect())
    };
    let before = connection().await?;
    assert_eq!(before.len(), 1, "{before:?}");

    // Once at the start, once in vain, and again.
    until(LIMIT, "the credentials to be renewed", || async {
        Ok((source.asked.load(Ordering::SeqCst) >= 3).then_some(()))
    })
    .await?;
    until(LIMIT, "the server to have seen another AUTH", || async {
        let stats = server.call(&["INFO", "commandstats"]).await?.text();
        Ok(stats.contains("cmdstat_auth:").then_some(()))
    })
    .await?;
    assert_eq!(client.get("key").await?, "value");
    assert_eq!(connection().await?, before, "the connection is the same one");
    Ok(())
}
