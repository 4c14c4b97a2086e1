//! Slots that move in both ways, and failovers, at random moments of a removal.

use anyhow::{Context as _, Result, ensure};
use cache_admin::{Options, Outcome, Pace, Report};
use cache_core::slot::slot_of;
use rand::Rng as _;
use tests::{Cluster, ClusterOptions, ServerOptions, Version, until};

use super::{LIMIT, after, engine, fill, pattern, rounds, size};

/// Slots that move in a round.
const MOVES: usize = 4;

#[tokio::test]
async fn nothing_is_missed_on_valkey_8_while_slots_move_and_primaries_are_replaced() -> Result<()> {
    hurt(Version::Valkey8, false).await
}

#[tokio::test]
async fn nothing_is_missed_on_valkey_9_while_slots_move_key_by_key() -> Result<()> {
    hurt(Version::Valkey9, false).await
}

#[tokio::test]
async fn nothing_is_missed_on_valkey_9_while_slots_move_at_once() -> Result<()> {
    hurt(Version::Valkey9, true).await
}

async fn hurt(version: Version, atomically: bool) -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 1).node(ServerOptions::new(version))).await?;
    let (client, engine) = engine(&cluster.addresses(), true).await?;
    let kept = size();
    fill(&client, (0..kept).map(|number| format!("kept:{number}"))).await?;
    for round in 0..rounds() {
        let tags: Vec<String> = (0..MOVES)
            .map(|number| format!("mover{round}-{number}"))
            .collect();
        fill(&client, (0..size()).map(|number| format!("doomed:{number}"))).await?;
        let of_tag = |tag: &String| {
            let tag = tag.clone();
            (0..200).map(move |number| format!("doomed:{{{tag}}}:{number}"))
        };
        fill(&client, tags.iter().flat_map(of_tag)).await?;

        let begin = rand::rng().random_range(0..size() / 3);
        let pace = if round % 2 == 0 { Pace::Full } else { Pace::Gentle };
        let (reached, observer) = after(begin);
        let options = Options::default()
            .with_pace(pace)
            .with_page_size(200)
            .with_observer(observer);
        let pattern = pattern("doomed:*")?;
        let purge = engine.invalidate(&pattern, &options);
        let trouble = async {
            // Where a pass removes less than that on each primary, it is over before.
            let _ = tokio::time::timeout(LIMIT, reached.notified()).await;
            for tag in &tags {
                let slot = slot_of(tag.as_bytes());
                let from = cluster.primary_of(slot).await?;
                let to = other_primary(&cluster, from).await?;
                if atomically {
                    cluster.move_slots_atomically(slot, slot, from, to).await?;
                } else {
                    cluster.move_slot(slot, from, to).await?;
                }
            }
            let primary = cluster.primary_of(rand::rng().random_range(0..16_384)).await?;
            let replicas = cluster.replicas_of(primary).await?;
            cluster.failover(*replicas.first().context("a replica")?).await
        };
        let (report, trouble) = tokio::join!(purge, trouble);
        trouble.with_context(|| format!("round {round}, begun at {begin}"))?;
        cluster.wait_until_ok().await?;
        check(&cluster, &report, kept)
            .await
            .with_context(|| format!("round {round}, begun at {begin}, {pace:?}: {report:?}"))?;
        // For the next round, where something was left.
        let _ = engine.invalidate(&pattern, &Options::default()).await;
    }
    Ok(())
}

/// A primary that is not `from`.
async fn other_primary(cluster: &Cluster, from: usize) -> Result<usize> {
    for slot in [0, 5_461, 10_923] {
        let owner = cluster.primary_of(slot).await?;
        if owner != from {
            return Ok(owner);
        }
    }
    anyhow::bail!("there is one primary only")
}

async fn check(cluster: &Cluster, report: &Report, kept: u64) -> Result<()> {
    // Only `complete` promises anything, and nothing here is out of reach for longer than the patience.
    ensure!(matches!(report.outcome, Outcome::Complete), "it is not complete");
    until(LIMIT, "the kept keys and no others to be there", || async {
        let held = cluster.keys().await?;
        ensure!(held == kept, "{held} keys are there, not {kept}");
        Ok(Some(()))
    })
    .await
}

/// A new primary is handed keys before it serves any slot, and the handover stands still.
#[tokio::test]
async fn keys_that_were_handed_to_a_primary_without_slots_are_removed_there() -> Result<()> {
    for version in [Version::Valkey8, Version::Valkey9] {
        let mut cluster = Cluster::start(ClusterOptions::new(3, 0).node(ServerOptions::new(version))).await?;
        let (client, engine) = engine(&cluster.addresses(), true).await?;
        fill(&client, (0..300).map(|number| format!("k:{{moving}}:{number}"))).await?;
        let slot = slot_of(b"moving");
        let from = cluster.primary_of(slot).await?;
        let to = cluster.add_node().await?;
        cluster.begin_move(slot, from, to).await?;
        cluster.migrate_keys(slot, from, to, 100).await?;
        for text in ["k:*", "k:{moving}:*"] {
            let report = engine.invalidate(&pattern(text)?, &Options::default()).await;
            ensure!(matches!(report.outcome, Outcome::Complete), "{report:?}");
            ensure!(cluster.keys().await? == 0, "{text} on {version:?}: {report:?}");
            // Again; what the giver does not hold is stored with the receiver.
            fill(&client, (0..300).map(|number| format!("k:{{moving}}:{number}"))).await?;
        }
    }
    Ok(())
}
