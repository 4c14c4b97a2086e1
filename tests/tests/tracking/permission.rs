//! The server does not track for us: that is found out, said, and the client works all the same.

use anyhow::{Context as _, Result};
use cache_core::config::Authentication;
use cache_core::{CacheClient, TrackingStatus, Ttl};
use cache_valkey::ValkeyClient;
use tests::{Server, ServerOptions, Version, until};

use crate::listener::{Heard, LIMIT, listening, read, single};

fn reason(client: &dyn CacheClient) -> Result<String> {
    let source = client.invalidations().context("no invalidations")?;
    match source.status() {
        TrackingStatus::Off(reason) => Ok(reason),
        other => anyhow::bail!("{other:?}"),
    }
}

async fn user_with(rules: &str) -> Result<(Server, ValkeyClient)> {
    let user = format!("app on >hunter2 ~* +@all {rules}");
    let server = Server::start(ServerOptions::new(Version::Valkey8).user(&user)).await?;
    let config = single(&server.address())?.with_authentication(Authentication::Password {
        username: Some("app".into()),
        password: "hunter2".into(),
    });
    let client = ValkeyClient::connect(&config).await?;
    Ok((server, client))
}

#[tokio::test]
async fn a_user_that_may_not_track_works_untracked_and_the_status_says_why() -> Result<()> {
    for forbidden in ["-client|tracking", "-client|caching", "-client"] {
        let (_server, client) = user_with(forbidden).await?;
        let heard = Heard::of(&client)?;
        let reason = reason(&client)?;
        assert!(reason.contains("CLIENT TRACKING"), "{reason}");
        assert!(!reason.contains("hunter2"), "{reason}");
        client.set("key", "1".into(), Ttl::Forever).await?;
        let entry = client.get_entry("key").await?;
        assert_eq!((&entry.value[..], entry.tracked), (&b"1"[..], false));
        client.set("key", "2".into(), Ttl::Forever).await?;
        assert_eq!(client.get("key").await?, "2");
        assert_eq!(heard.events(), []);
    }
    Ok(())
}

#[tokio::test]
async fn a_server_without_the_command_is_used_untracked() -> Result<()> {
    let options = ServerOptions::new(Version::Redis7).line("rename-command CLIENT \"\"");
    let server = Server::start(options).await?;
    let (client, _heard) = listening(&server).await?;
    let reason = reason(&client)?;
    assert!(
        reason.contains("unknown command") && !reason.contains("OPTIN"),
        "{reason}"
    );
    client.set("key", "1".into(), Ttl::Forever).await?;
    assert!(!client.get_entry("key").await?.tracked);
    Ok(())
}

#[tokio::test]
async fn a_permission_that_is_taken_away_ends_tracking_and_the_next_connection_finds_it_back() -> Result<()> {
    let (server, client) = user_with("").await?;
    let heard = Heard::of(&client)?;
    client.set("key", "1".into(), Ttl::Forever).await?;
    read(&client, "key").await?;
    server.call(&["ACL", "SETUSER", "app", "-client|caching"]).await?;
    let entry = client.get_entry("key").await?;
    assert_eq!((&entry.value[..], entry.tracked), (&b"1"[..], false));
    assert!(reason(&client)?.contains("CLIENT CACHING"));
    // What was read while it was permitted is still reported.
    server.call(&["SET", "key", "2"]).await?;
    heard.wait_for_key("key").await?;

    server.call(&["ACL", "SETUSER", "app", "+client|caching"]).await?;
    server.call(&["CLIENT", "KILL", "USER", "app"]).await?;
    until(LIMIT, "tracking to be back", || async {
        Ok(client.get_entry("key").await?.tracked.then_some(()))
    })
    .await
}
