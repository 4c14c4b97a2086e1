//! The library that starts servers, tried on itself: what it promises about starting, hurting and stopping.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tests::{
    Certificates, Cluster, ClusterOptions, Connection, Proxy, Reply, SentinelOptions, SentinelSet, Server,
    ServerOptions, Tls, Version, until,
};
use tokio::io::{AsyncBufReadExt as _, BufReader};

const LIMIT: Duration = Duration::from_secs(10);

/// A key of slot 866 (`{a}` is in 15495, `{tag}` in 8338, this one was looked for).
const KEY: &str = "866";

fn runs(process: i32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

#[tokio::test]
async fn every_version_starts_and_answers() -> Result<()> {
    for (version, expected) in [
        (Version::Valkey8, "8."),
        (Version::Valkey9, "9."),
        (Version::Redis7, "7.0."),
        (Version::Redis6, "6.2."),
    ] {
        let server = Server::start(ServerOptions::new(version)).await?;
        let field = if matches!(version, Version::Redis6 | Version::Redis7) {
            "redis_version"
        } else {
            "valkey_version"
        };
        let found = server.info(field).await?;
        assert!(found.starts_with(expected), "{version:?} is {found}");
        assert_eq!(
            Connection::open(&server.address())
                .await?
                .call(&["PING"])
                .await?
                .text(),
            "PONG"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_dropped_server_is_gone_with_its_files() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let (process, folder, address) = (server.process_id(), server.folder().to_owned(), server.address());
    assert!(runs(process) && folder.exists());
    drop(server);
    assert!(!runs(process) && !folder.exists());
    assert!(Connection::open(&address).await.is_err());
    Ok(())
}

/// The runner starts servers as any test process does, so it is the process to kill.
#[tokio::test]
async fn servers_end_when_the_process_that_started_them_is_killed() -> Result<()> {
    let mut starter = tokio::process::Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["servers", "single"])
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(starter.stdout.take().context("no output")?).lines();
    let line = lines.next_line().await?.context("no line")?;
    let address = line.strip_prefix("export CACHE_ADDRS=").context("no address")?;
    let folder = Connection::open(address)
        .await?
        .call(&["CONFIG", "GET", "dir"])
        .await?;
    let folder = PathBuf::from(folder.field("dir").context("no folder")?);
    assert!(folder.join("server.conf").exists());
    starter.kill().await?; // SIGKILL
    until(LIMIT, "the server to end and its folder to go", || async {
        Ok((Connection::open(address).await.is_err() && !folder.exists()).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() -> Result<()> {
    let error = Server::start(ServerOptions::new(Version::Valkey8).line("no-such-setting 1"))
        .await
        .unwrap_err();
    assert!(format!("{error:#}").contains("no-such-setting"), "{error:#}");
    Ok(())
}

#[tokio::test]
async fn a_paused_server_accepts_and_stays_silent_until_resumed() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    server.pause()?;
    let mut connection = Connection::open(&server.address()).await?;
    let silent = tokio::time::timeout(Duration::from_millis(200), connection.ask(&["PING"])).await;
    assert!(silent.is_err());
    server.resume()?;
    server.call(&["PING"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_killed_server_comes_back_on_its_port_without_data() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    server.call(&["SET", "key", "value"]).await?;
    server.kill()?;
    assert!(Connection::open(&server.address()).await.is_err());
    server.restart().await?;
    assert_eq!(
        Connection::open(&server.address())
            .await?
            .call(&["GET", "key"])
            .await?,
        Reply::Nil
    );
    Ok(())
}

#[tokio::test]
async fn passwords_and_users_are_asked_for() -> Result<()> {
    let options = ServerOptions::new(Version::Valkey8)
        .password("open")
        .user("reader on >sesame ~a:* +get");
    let server = Server::start(options).await?;
    let mut client = Connection::open(&server.address()).await?;
    assert!(client.ask(&["PING"]).await?.text().starts_with("NOAUTH"));
    client.call(&["AUTH", "open"]).await?;
    client.call(&["SET", "b", "1"]).await?;
    client.call(&["AUTH", "reader", "sesame"]).await?;
    assert!(client.ask(&["GET", "b"]).await?.text().starts_with("NOPERM"));
    Ok(())
}

#[tokio::test]
async fn a_replica_follows_through_tls_and_a_login() -> Result<()> {
    let certificates = Certificates::generate()?;
    let options = ServerOptions::new(Version::Valkey8)
        .tls(Tls::new(&certificates).require_client_certificate())
        .password("secret");
    let primary = Server::start(options.clone()).await?;
    let replica = Server::start(options.replica_of(&primary)).await?;
    primary.call(&["SET", "key", "value"]).await?;
    until(LIMIT, "the value on the replica", || async {
        Ok((replica.call(&["GET", "key"]).await?.text() == "value").then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_cluster_serves_all_slots_and_heals_after_a_kill() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 1)).await?;
    let slot = u16::try_from(
        cluster
            .node(0)
            .call(&["CLUSTER", "KEYSLOT", KEY])
            .await?
            .integer()
            .unwrap_or(0),
    )?;
    let victim = cluster.primary_of(slot).await?;
    let replicas = cluster.replicas_of(victim).await?;
    cluster.kill(victim)?;
    let heir = cluster.wait_for_new_primary(slot, victim).await?;
    assert_eq!(replicas, [heir]);
    cluster.node(heir).call(&["SET", KEY, "value"]).await?;
    cluster.restart(victim).await?;
    cluster.wait_until_ok().await?;
    assert_eq!(cluster.replicas_of(heir).await?, [victim]);
    Ok(())
}

#[tokio::test]
async fn a_failover_on_request_loses_nothing() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 1)).await?;
    let slot = u16::try_from(
        cluster
            .node(0)
            .call(&["CLUSTER", "KEYSLOT", KEY])
            .await?
            .integer()
            .unwrap_or(0),
    )?;
    let primary = cluster.primary_of(slot).await?;
    cluster.node(primary).call(&["SET", KEY, "value"]).await?;
    let replica = cluster.replicas_of(primary).await?[0];
    cluster.failover(replica).await?;
    assert_eq!(cluster.primary_of(slot).await?, replica);
    assert_eq!(cluster.node(replica).call(&["GET", KEY]).await?.text(), "value");
    Ok(())
}

#[tokio::test]
async fn a_slot_moves_key_by_key_and_can_stand_half_way() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let slot = u16::try_from(
        cluster
            .node(0)
            .call(&["CLUSTER", "KEYSLOT", "{a}"])
            .await?
            .integer()
            .unwrap_or(0),
    )?;
    let from = cluster.primary_of(slot).await?;
    let to = (from + 1) % 3;
    for number in 0..250 {
        cluster
            .node(from)
            .call(&["SET", &format!("{{a}}:{number}"), "value"])
            .await?;
    }
    cluster.begin_move(slot, from, to).await?;
    assert_eq!(cluster.migrate_keys(slot, from, to, 100).await?, 100);
    let count = |node: usize| {
        let cluster = &cluster;
        async move {
            cluster
                .node(node)
                .call(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()])
                .await
        }
    };
    assert_eq!(
        (count(from).await?, count(to).await?),
        (Reply::Integer(150), Reply::Integer(100))
    );
    assert_eq!(cluster.primary_of(slot).await?, from);
    assert!(
        cluster
            .node(from)
            .call(&["GET", "{a}:none"])
            .await
            .unwrap_err()
            .to_string()
            .contains("ASK")
    );
    cluster.move_slot(slot, from, to).await?;
    assert_eq!(
        (count(from).await?, count(to).await?),
        (Reply::Integer(0), Reply::Integer(250))
    );
    assert_eq!(cluster.primary_of(slot).await?, to);
    Ok(())
}

#[tokio::test]
async fn a_slot_moves_key_by_key_through_tls_and_a_login() -> Result<()> {
    let certificates = Certificates::generate()?;
    let node = ServerOptions::new(Version::Valkey8)
        .tls(Tls::new(&certificates))
        .password("secret");
    let cluster = Cluster::start(ClusterOptions::new(3, 0).node(node)).await?;
    let slot = u16::try_from(
        cluster
            .node(0)
            .call(&["CLUSTER", "KEYSLOT", "{a}"])
            .await?
            .integer()
            .unwrap_or(0),
    )?;
    let from = cluster.primary_of(slot).await?;
    let to = (from + 1) % 3;
    cluster.node(from).call(&["SET", "{a}", "value"]).await?;
    cluster.move_slot(slot, from, to).await?;
    assert_eq!(cluster.node(to).call(&["GET", "{a}"]).await?.text(), "value");
    Ok(())
}

#[tokio::test]
async fn slots_move_atomically_on_valkey_9() -> Result<()> {
    let options = ClusterOptions::new(3, 0).node(ServerOptions::new(Version::Valkey9));
    let cluster = Cluster::start(options).await?;
    let slot = u16::try_from(
        cluster
            .node(0)
            .call(&["CLUSTER", "KEYSLOT", "{a}"])
            .await?
            .integer()
            .unwrap_or(0),
    )?;
    let from = cluster.primary_of(slot).await?;
    let to = (from + 1) % 3;
    cluster.node(from).call(&["SET", "{a}", "value"]).await?;
    cluster.move_slots_atomically(slot - 10, slot, from, to).await?;
    assert_eq!(cluster.primary_of(slot - 10).await?, to);
    assert_eq!(cluster.node(to).call(&["GET", "{a}"]).await?.text(), "value");
    cluster.move_slots_atomically(slot, slot, to, from).await?;
    assert_eq!(cluster.primary_of(slot).await?, from);
    Ok(())
}

#[tokio::test]
async fn a_node_can_be_added_and_given_a_slot() -> Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::new(1, 0)).await?;
    let fresh = cluster.add_node().await?;
    cluster.move_slot(7, 0, fresh).await?;
    assert_eq!(cluster.primary_of(7).await?, fresh);
    Ok(())
}

#[tokio::test]
async fn sentinels_promote_a_replica_on_request_and_after_a_kill() -> Result<()> {
    let set = SentinelSet::start(SentinelOptions::new().sentinel_password("watch")).await?;
    assert_eq!(set.primary().await?, 0);
    let second = set.failover().await?;
    assert_ne!(second, 0);
    let third = set.kill_primary().await?;
    assert_ne!(third, second);
    Ok(())
}

#[tokio::test]
async fn a_proxy_pauses_delays_cuts_and_refuses() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let proxy = Proxy::start(server.address()).await?;
    let mut client = Connection::open(&proxy.address()).await?;
    client.call(&["PING"]).await?;
    assert_eq!((proxy.accepted(), proxy.open(), proxy.bytes()), (1, 1, 14 + 7));

    proxy.pause();
    assert!(
        tokio::time::timeout(Duration::from_millis(100), client.ask(&["PING"]))
            .await
            .is_err()
    );
    proxy.resume();
    let mut client = Connection::open(&proxy.address()).await?;
    client.call(&["PING"]).await?;

    proxy.delay(Duration::from_millis(100));
    assert!(
        tokio::time::timeout(Duration::from_millis(150), client.ask(&["PING"]))
            .await
            .is_err()
    );
    proxy.delay(Duration::ZERO);

    assert!(proxy.cut() >= 1);
    assert!(client.ask(&["PING"]).await.is_err());
    proxy.refuse().await;
    assert!(Connection::open(&proxy.address()).await.is_err());
    proxy.accept().await?;
    Connection::open(&proxy.address()).await?.call(&["PING"]).await?;
    Ok(())
}
