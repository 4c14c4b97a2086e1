//! Sentinels with users and TLS that are not those of the data nodes.

use anyhow::{Context as _, Result};
use cache_core::config::{SentinelTls, Topology, ValkeyConfig};
use cache_core::{CacheClient as _, CacheError, Ttl};
use cache_valkey::ValkeyClient;
use tests::sentinel::PRIMARY_NAME;
use tests::{Certificates, SentinelOptions, SentinelSet, Tls};

use crate::files::{Mount, Way};
use crate::{address, tls};

fn watched(set: &SentinelSet, login: Option<(&str, &str)>) -> Result<ValkeyConfig> {
    let sentinels = set.addresses();
    Ok(ValkeyConfig::new(Topology::Sentinel {
        sentinels: sentinels
            .iter()
            .map(|text| address(text))
            .collect::<Result<_>>()?,
        master: PRIMARY_NAME.to_owned(),
        username: login.map(|(user, _)| user.to_owned()),
        password: login.map(|(_, password)| password.to_owned().into()),
        db: 0,
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_ask_for_a_user_that_the_data_nodes_do_not_know() -> Result<()> {
    let set = SentinelSet::start(SentinelOptions::new()).await?;
    for sentinel in set.sentinels() {
        sentinel
            .call(&["ACL", "SETUSER", "watcher", "on", ">look", "&*", "+@all"])
            .await?;
    }
    let refused = ValkeyClient::connect(&watched(&set, Some(("watcher", "wrong")))?)
        .await
        .err();
    let refused = refused.context("a wrong password was accepted")?;
    assert!(matches!(refused, CacheError::Unauthorized { .. }), "{refused}");
    assert!(
        refused.to_string().contains("CACHE_SENTINEL_USERNAME"),
        "{refused}"
    );

    let client = ValkeyClient::connect(&watched(&set, Some(("watcher", "look")))?).await?;
    client.set("key", "value".into(), Ttl::Forever).await?;
    let users = set.sentinels()[0].call(&["CLIENT", "LIST"]).await?.text();
    assert!(users.contains("user=watcher"), "{users}");
    client.close().await?;

    // From a file, which may change.
    let mount = Mount::new(Way::Swap, &[("password", "look")])?;
    let mut config = watched(&set, Some(("watcher", "stale")))?;
    let file = cache_core::config::PasswordFile::new(mount.path("password"));
    config.sentinel_password_file = Some(file.with_variable("CACHE_SENTINEL_PASSWORD_FILE"));
    let client = ValkeyClient::connect(&config).await?;
    assert_eq!(client.get("key").await?, "value");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_have_tls_and_the_data_nodes_have_none() -> Result<()> {
    let made = Certificates::generate()?;
    let options = SentinelOptions::new().sentinel_tls(Tls::new(&made));
    let set = SentinelSet::start(options).await?;
    let mut config = watched(&set, None)?;
    assert!(ValkeyClient::connect(&config).await.is_err(), "without TLS");
    config.sentinel_tls = SentinelTls::Own(tls(&made.ca, None));
    let client = ValkeyClient::connect(&config).await?;
    client.set("key", "value".into(), Ttl::Forever).await?;
    assert_eq!(client.get("key").await?, "value");
    // And the other way round: the setting of the data nodes is not imposed on the sentinels.
    config.tls = Some(tls(&made.ca, None));
    let error = ValkeyClient::connect(&config)
        .await
        .err()
        .context("the data nodes have no TLS")?;
    assert!(!error.to_string().contains(&set.addresses()[0]), "{error}");
    Ok(())
}
