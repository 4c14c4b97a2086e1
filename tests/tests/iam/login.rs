//! A client with IAM tokens logs in everywhere, with a fresh token for every connection.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use cache_core::{CacheClient as _, Pattern, Ttl, clock};
use cache_valkey::ValkeyClient;
use tests::until;

use crate::setup::LIMIT;
use crate::stage::{Cache, Says};

/// How old a token may be when it arrives: its time has whole seconds, and a TLS handshake comes between.
const FRESH: Duration = Duration::from_secs(3);

/// Calls, and what the administration asks, work; each connection shows a token that was made for it.
async fn a_client_works(cache: &Cache, serverless: bool) -> Result<()> {
    let says = Says {
        serverless,
        ..Says::default()
    };
    let client = ValkeyClient::builder(&cache.config)
        .credentials(Arc::new(says.tokens().await?))
        .connect()
        .await?;
    for number in 0..100 {
        let key = format!("key:{number}");
        client.set(&key, "value".into(), Ttl::secs(60)).await?;
        assert_eq!(client.get(&key).await?, "value");
    }
    assert_eq!(client.incr("count").await?, 1);
    let mut found = 0;
    for primary in client.administration().primaries().await? {
        let mut cursor = 0;
        loop {
            let page = primary.scan(cursor, &Pattern::new("key:*")?, None, 1_000).await?;
            found += page.keys.len();
            cursor = page.cursor;
            if cursor == 0 {
                break;
            }
        }
    }
    assert_eq!(found, 100);
    let logins = cache.logins();
    assert!(logins.len() >= 2 * cache.gates.len(), "{} logins", logins.len());
    for login in logins {
        match login.verdict {
            Ok(age) => assert!(age <= FRESH, "a token that was {age:?} old"),
            Err(reason) => bail!("refused: {reason}"),
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_logs_in_to_a_single_server() -> Result<()> {
    a_client_works(&Cache::single().await?, false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_logs_in_to_every_node_of_a_cluster() -> Result<()> {
    a_client_works(&Cache::cluster().await?, false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_logs_in_to_a_serverless_cache() -> Result<()> {
    a_client_works(&Cache::serverless().await?, true).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_connection_shows_a_token_of_its_own() -> Result<()> {
    let cache = Cache::single().await?;
    let mut config = cache.config.clone();
    config.max_connection_age = Some(Duration::from_secs(2));
    let client = ValkeyClient::builder(&config)
        .credentials(Arc::new(Says::default().tokens().await?))
        .connect()
        .await?;
    let started = clock::now();
    until(LIMIT, "four connections", || async {
        client.ping().await?;
        Ok((cache.logins().len() >= 4).then_some(()))
    })
    .await?;
    let logins = cache.logins();
    let tokens: BTreeSet<_> = logins.iter().map(|login| &login.token).collect();
    assert_eq!(tokens.len(), logins.len(), "a token was shown twice");
    let connections: BTreeSet<_> = logins.iter().map(|login| login.connection).collect();
    assert_eq!(connections.len(), logins.len());
    println!("{} logins in {:?}", logins.len(), started.elapsed());
    Ok(())
}
