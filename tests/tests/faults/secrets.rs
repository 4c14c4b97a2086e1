//! No password, key or value in anything that is shown: errors, logs at the finest level, debug forms.

use anyhow::Result;
use cache_core::config::Topology;
use cache_core::{CacheClient as _, Ttl};
use cache_valkey::ValkeyClient;
use tests::{Certificates, Log, SentinelOptions, SentinelSet, Server, ServerOptions, Tls, Version};
use tracing_subscriber::filter::LevelFilter;

use crate::setup::{everything, login, single, tls, watched};

const PASSWORD: &str = "swordfish-1618";
const OTHER_PASSWORD: &str = "tunafish-2236";
const VALUE: &str = "the-value-1414";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_password_nor_a_key_nor_a_value_is_ever_shown() -> Result<()> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // For all threads: what is to be heard happens in tasks of the client.
    tracing::subscriber::set_global_default(subscriber)?;
    let mut shown = String::new();

    let made = Certificates::generate()?;
    let options = ServerOptions::new(Version::Valkey8)
        .tls(Tls::new(&made))
        .user(&format!("app on >{PASSWORD} ~* +@all"));
    let server = Server::start(options).await?;
    let mut config = single(&server.address())?;
    config.tls = Some(tls(Some(&made.ca), Some(&made.client)));
    config.authentication = login(Some("app"), PASSWORD);
    let client = ValkeyClient::connect(&config).await?;
    shown.push_str(&format!(
        "{config:?} {client:?} {:?}",
        ValkeyClient::builder(&config)
    ));
    client.set("key", VALUE.into(), Ttl::Forever).await?;
    client.get("key").await?;
    // Refused by the server, with a value and as a value.
    for error in [
        client.incr("key").await.err(),
        client
            .compare_and_set("key", VALUE.as_bytes(), VALUE.into(), Ttl::Forever)
            .await
            .err(),
    ]
    .into_iter()
    .flatten()
    {
        shown.push_str(&everything(&error));
    }
    // Turned away while connected, and when connecting.
    server.call(&["ACL", "SETUSER", "app", "resetpass"]).await?;
    server.restart().await?;
    server
        .call(&["ACL", "SETUSER", "app", "resetpass", ">another"])
        .await?;
    server.call(&["CLIENT", "KILL", "TYPE", "NORMAL"]).await?;
    for _ in 0..3 {
        if let Err(error) = client.get("key").await {
            shown.push_str(&everything(&error));
        }
        if let Err(error) = ValkeyClient::connect(&config).await {
            shown.push_str(&everything(&error));
        }
    }
    server.kill()?;
    for _ in 0..3 {
        if let Err(error) = client.set("key", VALUE.into(), Ttl::Forever).await {
            shown.push_str(&everything(&error));
        }
    }
    shown.push_str(&format!("{client:?}"));

    let set = SentinelSet::start(SentinelOptions::new().sentinel_password(OTHER_PASSWORD)).await?;
    let mut config = watched(&set.addresses())?;
    if let Err(error) = ValkeyClient::connect(&config).await {
        shown.push_str(&everything(&error));
    }
    if let Topology::Sentinel { password, .. } = &mut config.topology {
        *password = Some(OTHER_PASSWORD.to_owned().into());
    }
    let client = ValkeyClient::connect(&config).await?;
    client.set("key", VALUE.into(), Ttl::Forever).await?;
    shown.push_str(&format!("{config:?} {client:?}"));

    let logged = log.text();
    println!("{} bytes logged, {} bytes shown", logged.len(), shown.len());
    assert!(
        logged.contains("cannot be reached"),
        "nothing was logged: {logged}"
    );
    let key: String = made.client.key.lines().skip(1).take(1).collect();
    for secret in [PASSWORD, OTHER_PASSWORD, VALUE, "PRIVATE KEY", &key] {
        assert!(!shown.contains(secret), "shown: {secret}");
        assert!(!logged.contains(secret), "logged: {secret}");
    }
    Ok(())
}
