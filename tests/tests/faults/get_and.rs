//! `get_and_delete` and `get_and_expire`: lost replies, and servers that lack the commands.

use anyhow::{Result, ensure};
use cache_core::{CacheClient as _, CacheError, Outcome, Ttl};
use cache_valkey::ValkeyClient;
use tests::{Answer, FakeServer, Proxy, Server, ServerOptions, Version};

use crate::setup::single;

#[tokio::test]
async fn get_and_delete_is_not_sent_again_when_its_reply_is_lost_and_get_and_expire_is() -> Result<()> {
    let fake = FakeServer::start(|asked| match (asked.turn, asked.words[0].as_str()) {
        (0 | 1, _) => Answer::Last(Vec::new()),
        _ => Answer::value("value"),
    })
    .await?;
    let client = ValkeyClient::connect(&single(&fake.address())?).await?;
    let error = client.get_and_delete("key").await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert_eq!(fake.asked(), 1, "the second try would have found nothing");
    assert_eq!(client.get_and_expire("key", Ttl::secs(60)).await?, "value");
    assert_eq!(fake.asked(), 3);
    Ok(())
}

/// Before 6.2 a script does it. The server here has the commands under no name, and says that it is 6.0.
#[tokio::test]
async fn server_without_the_commands_gets_scripts() -> Result<()> {
    let options = ServerOptions::new(Version::Redis7)
        .line("rename-command GETDEL \"\"")
        .line("rename-command GETEX \"\"");
    let server = Server::start(options).await?;
    let proxy = Proxy::start(server.address()).await?;
    proxy.alter(|chunk| {
        let version = b"$7\r\nversion\r\n$";
        if let Some(at) = chunk.windows(version.len()).position(|window| window == version) {
            let digits = chunk[at + version.len()..]
                .iter()
                .position(|byte| *byte == b'\n')
                .unwrap_or(0);
            let number = at + version.len() + digits + 1;
            chunk[number..number + 3].copy_from_slice(b"6.0");
        }
    });
    let client = ValkeyClient::connect(&single(&proxy.address())?).await?;
    for value in ["value", "", "7"] {
        client.set("key", value.into(), Ttl::secs(600)).await?;
        ensure!(client.get_and_expire("key", Ttl::Forever).await? == value);
        ensure!(client.ttl("key").await?.is_forever());
        ensure!(client.get_and_expire("key", Ttl::secs(60)).await? == value);
        ensure!(!client.ttl("key").await?.is_forever());
        ensure!(client.get_and_delete("key").await? == value);
        ensure!(
            client
                .get_and_delete("key")
                .await
                .is_err_and(|error| error.is_miss())
        );
        ensure!(
            client
                .get_and_expire("key", Ttl::secs(60))
                .await
                .is_err_and(|error| error.is_miss())
        );
    }
    server.call(&["RPUSH", "list", "item"]).await?;
    for refused in [
        client.get_and_delete("list").await,
        client.get_and_expire("list", Ttl::secs(1)).await,
    ] {
        let Err(CacheError::Rejected { code, .. }) = refused else {
            anyhow::bail!("{refused:?}");
        };
        ensure!(code == "WRONGTYPE", "{code}");
    }
    ensure!(client.ttl("list").await?.is_forever(), "it stays as it was");
    let sent = server.call(&["INFO", "commandstats"]).await?.text();
    ensure!(sent.contains("cmdstat_eval"), "scripts were run: {sent}");
    Ok(())
}
