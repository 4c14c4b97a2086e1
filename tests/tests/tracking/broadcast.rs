//! Tracking by broadcast: everything under the prefixes is heard, read or not, and nothing else.

use anyhow::Result;
use cache_core::{CacheClient, CacheError, Ttl};
use cache_valkey::{Tracking, ValkeyClient};
use tests::{Server, ServerOptions, Version};

use crate::listener::{Heard, read, single};

fn under(prefixes: &[&str]) -> Tracking {
    Tracking::Broadcast {
        prefixes: prefixes.iter().map(|&prefix| prefix.to_owned()).collect(),
    }
}

#[tokio::test]
async fn what_is_under_a_prefix_is_heard_unread_and_nothing_else_is() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let config = single(&server.address())?;
    let tracking = under(&["users:", "teams:"]);
    let client = ValkeyClient::builder(&config)
        .tracking(tracking)
        .connect()
        .await?;
    let heard = Heard::of(&client)?;
    for key in ["other:1", "users:1", "teams:1", "user", "teams:2"] {
        server.call(&["SET", key, "1"]).await?;
    }
    heard.wait_for_key("teams:2").await?;
    let mut keys = heard.keys();
    keys.sort_unstable();
    assert_eq!(keys, ["teams:1", "teams:2", "users:1"]);
    read(&client, "users:1").await?;
    assert!(!client.get_entry("other:1").await?.tracked);
    // An own write, too.
    heard.clear();
    client.set("users:1", "2".into(), Ttl::Forever).await?;
    heard.wait_for_key("users:1").await
}

#[tokio::test]
async fn a_broadcast_without_a_prefix_is_refused_before_anything_is_sent() -> Result<()> {
    let config = single("127.0.0.1:1")?;
    for prefixes in [&[][..], &[""], &["users:", ""], &["users:", "users:1:"]] {
        let refused = ValkeyClient::builder(&config)
            .tracking(under(prefixes))
            .connect()
            .await;
        let error = refused.unwrap_err();
        assert!(matches!(error, CacheError::InvalidInput { .. }), "{error}");
    }
    Ok(())
}
