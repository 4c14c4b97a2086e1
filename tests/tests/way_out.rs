//! Commands and scripts that the contract does not have, over the client's own connections.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_core::config::{Authentication, Topology, ValkeyConfig};
use cache_core::slot::slot_of;
use cache_core::{CacheClient as _, CacheError, Outcome, Stage, Ttl};
use cache_valkey::{Effect, Reply, Script, ValkeyClient};
use futures::future::join_all;
use tests::{Answer, Cluster, ClusterOptions, FakeServer, Server, ServerOptions, Version};

static FIELDS: Script = Script::new("return redis.call('HLEN', KEYS[1]) + tonumber(ARGV[1])");

async fn client_of(address: &str) -> Result<ValkeyClient> {
    Ok(ValkeyClient::connect(&ValkeyConfig::new(Topology::single(address.parse()?))).await?)
}

async fn client_of_cluster(cluster: &Cluster) -> Result<ValkeyClient> {
    let seed = cluster.node(0).address().parse()?;
    Ok(ValkeyClient::connect(&ValkeyConfig::new(Topology::cluster([seed]))).await?)
}

/// Hashes of twenty keys, by commands and by a script.
async fn hashes_work(client: &ValkeyClient) -> Result<()> {
    let keys: Vec<String> = (0..20).map(|number| format!("hash:{number}")).collect();
    let added = keys.iter().map(|key| async move {
        let add = client.command("HSET", Effect::Write).key(key);
        add.args(["name", "Ada", "mail", "a@b"]).send().await
    });
    for reply in join_all(added).await {
        assert_eq!(reply?.into_int()?, 2);
    }
    for key in &keys {
        let reply = client.command("HGETALL", Effect::Read).key(key).send().await?;
        assert_eq!(reply.field("name").and_then(Reply::as_text), Some("Ada"));
        assert_eq!(reply.into_map()?.len(), 2);
        let counted = client
            .script(&FIELDS, Effect::Read)
            .key(key)
            .int(40)
            .send()
            .await?;
        assert_eq!(counted.into_int()?, 42);
    }
    Ok(())
}

#[tokio::test]
async fn commands_and_scripts_go_to_the_nodes_of_their_keys() -> Result<()> {
    for version in [Version::Valkey8, Version::Redis6] {
        let server = Server::start(ServerOptions::new(version)).await?;
        hashes_work(&client_of(&server.address()).await?).await?;
    }
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let client = client_of_cluster(&cluster).await?;
    hashes_work(&client).await?;

    // Without a key any primary answers; `routed_by` says which.
    for key in ["a", "b", "c", "d", "e"] {
        let id = client.command("CLUSTER", Effect::Read).arg("MYID").routed_by(key);
        let id = id.send().await?;
        let owner = cluster.primary_of(slot_of(key.as_bytes())).await?;
        assert_eq!(id.as_text(), Some(cluster.id(owner)));
    }
    assert_eq!(
        client.command("PING", Effect::Read).send().await?.as_text(),
        Some("PONG")
    );
    Ok(())
}

#[tokio::test]
async fn keys_of_one_call_are_in_one_slot_of_a_cluster() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let client = client_of_cluster(&cluster).await?;
    let set = || client.command("MSET", Effect::Write);
    let error = set()
        .key("a")
        .arg("1")
        .key("b")
        .arg("2")
        .send()
        .await
        .unwrap_err();
    assert!(
        matches!(error, CacheError::InvalidInput { argument: "keys", .. }),
        "{error}"
    );
    assert!(error.to_string().contains("hash tag"), "{error}");
    set().key("{t}a").arg("1").key("{t}b").arg("2").send().await?;
    let error = client
        .script(&FIELDS, Effect::Read)
        .keys(["a", "b"])
        .send()
        .await
        .unwrap_err();
    assert!(
        matches!(error, CacheError::InvalidInput { argument: "keys", .. }),
        "{error}"
    );

    // A single server has no slots.
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let client = client_of(&server.address()).await?;
    client
        .command("MSET", Effect::Write)
        .key("a")
        .arg("1")
        .key("b")
        .arg("2")
        .send()
        .await?;
    assert_eq!(client.get("b").await?, "2");
    Ok(())
}

#[tokio::test]
async fn a_slot_that_moves_is_followed() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let client = client_of_cluster(&cluster).await?;
    let slot = slot_of(b"moving");
    let from = cluster.primary_of(slot).await?;
    let to = (from + 1) % 3;
    client
        .command("RPUSH", Effect::WriteOnce)
        .key("moving")
        .arg("1")
        .send()
        .await?;
    // Half way the key is on the other side already, which only a call that was told so may ask.
    cluster.begin_move(slot, from, to).await?;
    cluster.migrate_keys(slot, from, to, 10).await?;
    let pushed = client
        .command("RPUSH", Effect::WriteOnce)
        .key("moving")
        .arg("2")
        .send()
        .await?;
    assert_eq!(pushed.into_int()?, 2);
    cluster.end_move(slot, from, to).await?;
    let items = client
        .command("LRANGE", Effect::Read)
        .key("moving")
        .int(0)
        .int(-1);
    assert_eq!(items.send().await?.into_array()?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_server_that_has_lost_a_script_gets_it_again() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let client = client_of(&server.address()).await?;
    let run = || async {
        let reply = client
            .script(&FIELDS, Effect::Read)
            .key("none")
            .int(7)
            .send()
            .await?;
        reply.into_int()
    };
    for _ in 0..3 {
        assert_eq!(run().await?, 7);
    }
    let server = &server;
    let calls = |command: &'static str| async move {
        let stats = server.call(&["INFO", "commandstats"]).await?.text();
        let line = stats
            .lines()
            .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        let count = line
            .and_then(|rest| rest.split(',').next())
            .unwrap_or("0")
            .parse::<u32>()?;
        anyhow::Ok(count)
    };
    assert_eq!(
        (calls("eval").await?, calls("evalsha").await?),
        (1, 3),
        "the text goes once"
    );
    server.call(&["SCRIPT", "FLUSH"]).await?;
    assert_eq!(run().await?, 7);
    assert_eq!(calls("eval").await?, 2);
    Ok(())
}

#[tokio::test]
async fn a_write_is_repeated_only_as_its_effect_allows() -> Result<()> {
    let fake = FakeServer::start(|asked| match asked.turn {
        0 | 1 => Answer::Last(Vec::new()),
        _ => Answer::Bytes(b":1\r\n".to_vec()),
    })
    .await?;
    let client = client_of(&fake.address()).await?;
    let push = |effect| client.command("RPUSH", effect).key("list").arg("1").send();
    let error = push(Effect::WriteOnce).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert_eq!(fake.asked(), 1, "sent again, and so perhaps pushed twice");
    assert_eq!(push(Effect::Write).await?.into_int()?, 1);
    assert_eq!(fake.asked(), 3);
    Ok(())
}

#[tokio::test]
async fn a_call_ends_by_the_deadline_that_it_was_given() -> Result<()> {
    let fake = FakeServer::start(|_| Answer::Silence).await?;
    let client = client_of(&fake.address()).await?;
    let short = Duration::from_millis(60);
    let get = || client.command("GET", Effect::Read).key("key");
    let error = get().deadline(short).send().await.unwrap_err();
    assert!(
        matches!(error, CacheError::Timeout { after, stage: Stage::Reply } if after == short),
        "{error}"
    );
    let error = get().deadline(Duration::ZERO).send().await.unwrap_err();
    assert!(
        matches!(
            error,
            CacheError::InvalidInput {
                argument: "deadline",
                ..
            }
        ),
        "{error}"
    );

    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let client = client_of(&server.address()).await?;
    let endless = client
        .command("GET", Effect::Read)
        .key("key")
        .deadline(Duration::MAX);
    assert_eq!(endless.send().await?, Reply::Nil);
    Ok(())
}

#[tokio::test]
async fn connections_have_the_name_that_is_configured() -> Result<()> {
    for version in [Version::Valkey8, Version::Redis6] {
        let server = Server::start(ServerOptions::new(version)).await?;
        let config = ValkeyConfig::new(Topology::single(server.address().parse()?));
        let client = ValkeyClient::connect(&config.with_client_name("billing-7")).await?;
        let name = client
            .command("CLIENT", Effect::Read)
            .arg("GETNAME")
            .send()
            .await?;
        assert_eq!(name.as_text(), Some("billing-7"), "{version:?}");
    }
    // It takes no permission of its own.
    let user = "app on >secret ~* +@all -client|setname";
    let server = Server::start(ServerOptions::new(Version::Valkey8).user(user)).await?;
    let config = ValkeyConfig::new(Topology::single(server.address().parse()?))
        .with_client_name("billing-7")
        .with_authentication(Authentication::Password {
            username: Some("app".to_owned()),
            password: "secret".into(),
        });
    let client = ValkeyClient::connect(&config).await?;
    let name = client
        .command("CLIENT", Effect::Read)
        .arg("GETNAME")
        .send()
        .await?;
    assert_eq!(name.as_text(), Some("billing-7"));
    assert!(server.call(&["ACL", "LOG"]).await?.items().is_empty());
    Ok(())
}

#[tokio::test]
async fn what_would_disturb_other_calls_is_not_sent() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let client = Arc::new(client_of(&server.address()).await?);
    client.set("key", "value".into(), Ttl::secs(60)).await?;
    for (name, argument) in [
        ("SELECT", "1"),
        ("MULTI", ""),
        ("SUBSCRIBE", "news"),
        ("CLIENT", "REPLY"),
        ("BLPOP", "list"),
        ("QUIT", ""),
    ] {
        let error = client
            .command(name, Effect::Read)
            .arg(argument)
            .send()
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                CacheError::InvalidInput {
                    argument: "command",
                    ..
                }
            ),
            "{error}"
        );
    }
    assert_eq!(client.get("key").await?, "value");
    assert_eq!(client.stats().connections(), 1);
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_an_error_without_the_arguments() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let client = client_of(&server.address()).await?;
    let unknown = client.command("NOSUCHTHING", Effect::Read).arg("hunter2");
    assert!(!format!("{unknown:?}").contains("hunter2"), "{unknown:?}");
    let error = unknown.send().await.unwrap_err();
    assert!(
        matches!(&error, CacheError::Rejected { code, .. } if code == "ERR"),
        "{error}"
    );
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    client.set("text", "abc".into(), Ttl::secs(60)).await?;
    let error = client
        .command("LPUSH", Effect::WriteOnce)
        .key("text")
        .arg("1")
        .send()
        .await;
    assert!(matches!(error, Err(CacheError::Rejected { code, .. }) if code == "WRONGTYPE"));
    // A command that is known here may be asked for with options that are not.
    let old = client
        .command("SET", Effect::WriteOnce)
        .key("text")
        .arg("new")
        .arg("GET");
    assert_eq!(old.send().await?.as_text(), Some("abc"));
    // Refusals inside an array stay in their places.
    let mixed = Script::from("return {1, redis.error_reply('ODD no')}".to_owned());
    let items = client.script(&mixed, Effect::Read).send().await?.into_array()?;
    let Some(Reply::Error(odd)) = items.get(1) else {
        anyhow::bail!("no refusal: {items:?}");
    };
    assert_eq!((odd.code(), odd.message()), ("ODD", "no"));

    client.close().await?;
    let closed = client.command("PING", Effect::Read).send().await;
    assert!(matches!(closed, Err(CacheError::Closed)));
    Ok(())
}

#[tokio::test]
async fn a_lost_connection_and_a_failed_dial_are_counted() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let client = client_of(&server.address()).await?;
    client.ping().await?;
    let before = client.stats();
    let node = before.nodes.first().context("a node")?;
    assert_eq!(
        (node.address.to_string(), node.connections),
        (server.address(), 1)
    );
    assert_eq!((before.reconnects, before.dial_failures), (0, 0));

    server.kill()?;
    tests::until(Duration::from_secs(20), "a failed dial", || async {
        let _ = client.ping().await;
        let stats = client.stats();
        Ok((stats.dial_failures > 0 && stats.connections() == 0).then_some(()))
    })
    .await?;
    server.restart().await?;
    tests::until(Duration::from_secs(20), "a reconnect", || async {
        let _ = client.ping().await;
        Ok((client.stats().reconnects == 1).then_some(()))
    })
    .await?;
    assert_eq!(client.stats().connections(), 1);

    server.pause()?;
    let calls = 5;
    let waiting = join_all((0..calls).map(|_| client.get("key")));
    let counted = async {
        tests::until(Duration::from_secs(20), "calls in flight", || async {
            let stats = client.stats();
            Ok(stats
                .nodes
                .iter()
                .any(|node| node.calls_in_flight >= calls)
                .then_some(()))
        })
        .await?;
        server.resume()
    };
    let (_, counted) = tokio::join!(waiting, counted);
    counted?;

    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let client = client_of_cluster(&cluster).await?;
    let stats = client.stats();
    assert!(stats.refreshes >= 1 && stats.connections() >= 3, "{stats:?}");
    Ok(())
}
