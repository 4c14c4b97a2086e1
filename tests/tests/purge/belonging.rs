//! A removal belongs to one cache: what another process does with it on other servers.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cache_admin::{
    CacheIdentity, Checkpoint, CheckpointFile, Control, Engine, Event, Keys as _, Layout, Options, Outcome,
    Pace, ValkeyKeys,
};
use cache_core::Pattern;
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version, until};

use super::{LIMIT, engine, fill};

const KEYS: u64 = 2_000;

/// What a removal has left on paper that was stopped half-way.
async fn half_done(engine: &Engine) -> Result<Checkpoint> {
    let folder = tempfile::tempdir()?;
    let (file, control) = (
        CheckpointFile::new(folder.path().join("run.json")),
        Control::new(),
    );
    let handle = control.clone();
    let options = Options::default()
        .with_pace(Pace::Full)
        .with_page_size(10)
        .with_checkpoints(file.clone())
        .with_save_every(Duration::from_secs(1), 50)
        .with_control(control)
        .with_observer(move |event: &Event| {
            if matches!(event, Event::Page { counts, .. } if counts.removed > 100) {
                handle.cancel();
            }
        });
    let report = engine.invalidate(&Pattern::new("doomed:*")?, &options).await;
    ensure!(matches!(report.outcome, Outcome::Cancelled), "{report:?}");
    file.load().await?.context("nothing was saved")
}

fn doomed() -> impl Iterator<Item = String> {
    (0..KEYS).map(|number| format!("doomed:{number}"))
}

#[tokio::test]
async fn a_removal_of_one_cluster_is_not_taken_up_on_another() -> Result<()> {
    for version in [Version::Valkey8, Version::Valkey9] {
        let node = ServerOptions::new(version);
        let options = || ClusterOptions::new(3, 0).node(node.clone());
        let (mut one, other) = tokio::try_join!(Cluster::start(options()), Cluster::start(options()))?;
        let (client, first) = engine(&one.addresses(), true).await?;
        let (foreign, second) = engine(&other.addresses(), true).await?;
        fill(&client, doomed()).await?;
        fill(&foreign, doomed()).await?;
        let checkpoint = half_done(&first).await?;

        let report = second.resume(&checkpoint, &Options::default()).await;
        let Outcome::Failed { error } = &report.outcome else {
            anyhow::bail!("{report:?}");
        };
        let words = error.to_string();
        for cache in [checkpoint.cache().context("no cache")?, &second.identity().await?] {
            ensure!(words.contains(&cache.to_string()), "{words} lacks {cache}");
        }
        ensure!(other.keys().await? == KEYS, "{report:?}");

        // A new shard is no other cache.
        one.add_node().await?;
        let report = first.resume(&checkpoint, &Options::default()).await;
        ensure!(matches!(report.outcome, Outcome::Complete), "{report:?}");
        ensure!(one.keys().await? == 0, "{report:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_removal_goes_on_with_the_promoted_replica_and_with_no_other_server() -> Result<()> {
    let options = || ServerOptions::new(Version::Valkey8);
    let primary = Server::start(options()).await?;
    let replica = Server::start(options().replica_of(&primary)).await?;
    let stranger = Server::start(options()).await?;
    let (client, first) = engine(&[primary.address()], false).await?;
    let (foreign, on_stranger) = engine(&[stranger.address()], false).await?;
    fill(&client, doomed()).await?;
    fill(&foreign, doomed()).await?;
    let checkpoint = half_done(&first).await?;
    let left = first.key_count().await?;
    until(LIMIT, "the replica to have it all", || async {
        let linked = replica.info("master_link_status").await? == "up";
        let same = replica.info("slave_repl_offset").await? == primary.info("master_repl_offset").await?;
        Ok((linked && same).then_some(()))
    })
    .await?;
    primary.kill()?;
    replica.call(&["REPLICAOF", "NO", "ONE"]).await?;

    let report = on_stranger.resume(&checkpoint, &Options::default()).await;
    ensure!(matches!(report.outcome, Outcome::Failed { .. }), "{report:?}");
    ensure!(on_stranger.key_count().await? == KEYS);

    let (_promoted, second) = engine(&[replica.address()], false).await?;
    ensure!(second.key_count().await? == left);
    let report = second.resume(&checkpoint, &Options::default()).await;
    ensure!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    ensure!(second.key_count().await? == 0);
    Ok(())
}

#[tokio::test]
async fn nothing_is_done_at_an_address_where_another_server_listens_now() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let (client, _) = engine(&[server.address()], false).await?;
    let Layout::Whole(shard) = ValkeyKeys::new(&client).layout().await? else {
        anyhow::bail!("a single server is no cluster");
    };
    let before = shard.cache().clone();
    // Without persistence, another server at the same address.
    server.kill()?;
    server.restart().await?;
    server.call(&["SET", "doomed:1", "a"]).await?;
    let unlinked = until(LIMIT, "an answer of the new server", || async {
        let unlinked = shard.unlink(&["doomed:1".into()]).await;
        let refused = unlinked.failed.as_ref().map(|(_, error)| error.to_string());
        Ok(refused.filter(|words| words.contains("another cache")))
    })
    .await;
    ensure!(unlinked.is_ok(), "it works on a server that it does not know");
    ensure!(server.call(&["EXISTS", "doomed:1"]).await?.integer() == Some(1));
    let now = until(LIMIT, "the client to know the new server", || async {
        Ok(ValkeyKeys::new(&client)
            .layout()
            .await
            .ok()
            .filter(|layout| layout.cache().is_some_and(CacheIdentity::is_known)))
    })
    .await?;
    ensure!(!now.cache().context("no cache")?.is_same_as(&before));
    Ok(())
}
