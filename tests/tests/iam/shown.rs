//! No token, and nothing that signs one, in anything that is shown: errors, logs at the finest level, debug forms.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_core::{CacheClient as _, Ttl};
use cache_valkey::ValkeyClient;
use tests::{Log, until};
use tracing_subscriber::filter::LevelFilter;

use crate::refusal::{mistakes, refused};
use crate::setup::{LIMIT, everything};
use crate::stage::{ACCESS_KEY, Cache, SECRET_KEY, SESSION_TOKEN, Says};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_part_of_a_token_is_ever_shown() -> Result<()> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // For all threads: what is to be heard happens in tasks of the client.
    tracing::subscriber::set_global_default(subscriber)?;
    let cache = Cache::single().await?;
    let mut shown = String::new();
    for (_, says, _) in mistakes(false) {
        shown.push_str(&everything(&refused(&cache, &says).await?));
    }
    // Accepted, replaced, and refused while it is in use.
    let config = cache
        .config
        .clone()
        .with_max_connection_age(Duration::from_secs(1));
    let tokens = Arc::new(Says::default().tokens().await?);
    let builder = ValkeyClient::builder(&config).credentials(Arc::clone(&tokens) as _);
    shown.push_str(&format!("{tokens:?} {builder:?} {config:?}"));
    let client = builder.connect().await?;
    client.set("key", "value".into(), Ttl::secs(60)).await?;
    // The gate sees the login before the client has put the connection in place.
    until(LIMIT, "another connection in its place", || async {
        client.ping().await?;
        Ok(log.text().contains("replaced a connection").then_some(()))
    })
    .await?;
    shown.push_str(&format!("{client:?} {:?}", client.administration()));

    let logged = log.text();
    println!("{} bytes logged, {} bytes shown", logged.len(), shown.len());
    assert!(shown.contains("CACHE_USERNAME"), "{shown}");
    let mut secrets = vec![
        ACCESS_KEY.to_owned(),
        SECRET_KEY.to_owned(),
        SESSION_TOKEN.to_owned(),
    ];
    let logins = cache.logins();
    assert!(logins.len() >= 9, "{} logins", logins.len());
    for login in logins {
        let (_, query) = login.token.split_once('?').context("not a token")?;
        // What names the user and the cache may be shown; what was signed may not.
        let parameters = query.split('&').filter(|part| part.starts_with("X-Amz-"));
        secrets.extend(parameters.map(str::to_owned));
        let signature = query.split_once("X-Amz-Signature=").context("not signed")?.1;
        secrets.push(signature.split('&').next().unwrap_or_default().to_owned());
        secrets.push(login.token);
    }
    for secret in secrets {
        assert!(!shown.contains(&secret), "shown: {secret}");
        assert!(!logged.contains(&secret), "logged: {secret}");
    }
    Ok(())
}
