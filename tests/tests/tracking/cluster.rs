//! Clusters: every primary tracks, and what moves from one to another is given up.

use anyhow::Result;
use cache_core::config::{Topology, ValkeyConfig};
use cache_core::slot::slot_of;
use cache_core::{CacheClient, Invalidation, Lookup, TrackingStatus, Ttl, clock};
use cache_valkey::ValkeyClient;
use tests::{Cluster, ClusterOptions, ServerOptions, Version, until};

use crate::listener::{Heard, LIMIT, address, first_answer, read, status_is, tracked_again};

/// One address is enough.
pub(crate) fn config(cluster: &Cluster) -> Result<ValkeyConfig> {
    let seeds = vec![address(&cluster.node(0).address())?];
    Ok(ValkeyConfig::new(Topology::cluster(seeds)))
}

async fn listening(cluster: &Cluster) -> Result<(ValkeyClient, Heard)> {
    let client = ValkeyClient::connect(&config(cluster)?).await?;
    let heard = Heard::of(&client)?;
    Ok((client, heard))
}

/// Waits until all that was read is given up: told as a whole, or key by key.
async fn given_up(heard: &Heard, keys: &[String]) -> Result<()> {
    until(LIMIT, "all that was read to be given up", || async {
        let whole = heard.has(&Invalidation::Revoked) || heard.has(&Invalidation::ConnectionLost);
        let told = heard.keys();
        let each = keys.iter().all(|key| told.contains(key));
        anyhow::ensure!(whole || each, "heard {:?}", heard.events());
        Ok(Some(()))
    })
    .await
}

/// Writes to the node that serves `key`, and waits until that is heard.
async fn change_is_heard(cluster: &Cluster, client: &ValkeyClient, heard: &Heard, key: &str) -> Result<()> {
    tracked_again(client, key).await?;
    heard.clear();
    let owner = cluster.primary_of(slot_of(key.as_bytes())).await?;
    cluster.node(owner).call(&["SET", key, "changed"]).await?;
    heard.wait_for_key(key).await
}

fn keys(tag: &str) -> Vec<String> {
    (0..20).map(|number| format!("{{{tag}}}:{number}")).collect()
}

async fn store_and_read(client: &ValkeyClient, keys: &[String]) -> Result<()> {
    for key in keys {
        client.set(key, "1".into(), Ttl::Forever).await?;
        read(client, key).await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_primary_tracks() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let (client, heard) = listening(&cluster).await?;
    status_is(&client, &TrackingStatus::On).await?;
    for number in 0..30 {
        let key = format!("key:{number}");
        client.set(&key, "1".into(), Ttl::Forever).await?;
        change_is_heard(&cluster, &client, &heard, &key).await?;
    }
    for node in cluster.nodes() {
        assert_ne!(node.info("tracking_clients").await?, "0");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_key_by_key_is_given_up_and_tracked_by_its_new_owner() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let (client, heard) = listening(&cluster).await?;
    let keys = keys("moved");
    let slot = slot_of(keys[0].as_bytes());
    let from = cluster.primary_of(slot).await?;
    let to = (from + 1) % 3;
    store_and_read(&client, &keys).await?;
    heard.clear();
    cluster.begin_move(slot, from, to).await?;
    cluster.migrate_keys(slot, from, to, 10).await?;

    // Half way: what has gone is read by ASK, which nobody watches; what has not is tracked.
    let mut tracked = 0;
    for key in &keys {
        let entry = client.get_entry(key).await?;
        assert_eq!(entry.value, "1");
        tracked += usize::from(entry.tracked);
    }
    assert_eq!(tracked, 10);
    while cluster.migrate_keys(slot, from, to, 100).await? > 0 {}
    cluster.end_move(slot, from, to).await?;
    given_up(&heard, &keys).await?;
    heard.clear();
    // The first read that is sent on gives up the rest, and before its answer.
    tracked_again(&client, &keys[0]).await?;
    for key in &keys {
        change_is_heard(&cluster, &client, &heard, key).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_without_a_key_of_ours_is_given_up_before_the_new_owner_answers() -> Result<()> {
    // A miss is tracked, too, and no key leaves its node: the servers have nothing to report.
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let (client, heard) = listening(&cluster).await?;
    let key = "absent";
    let slot = slot_of(key.as_bytes());
    let from = cluster.primary_of(slot).await?;
    first_answer(&client, key).await?;
    assert_eq!(heard.events(), []);
    cluster.move_slot(slot, from, (from + 1) % 3).await?;
    first_answer(&client, key).await?;
    assert!(heard.has(&Invalidation::Revoked), "{:?}", heard.events());
    change_is_heard_of_a_miss(&cluster, &heard, key).await?;

    // And within about a second where nobody reads.
    first_answer(&client, key).await?;
    heard.clear();
    let from = cluster.primary_of(slot).await?;
    let moved = clock::now();
    cluster.move_slot(slot, from, (from + 1) % 3).await?;
    heard.wait_for(&Invalidation::Revoked).await?;
    println!("given up {:?} after the move had begun", moved.elapsed());
    Ok(())
}

async fn change_is_heard_of_a_miss(cluster: &Cluster, heard: &Heard, key: &str) -> Result<()> {
    let owner = cluster.primary_of(slot_of(key.as_bytes())).await?;
    cluster.node(owner).call(&["SET", key, "made"]).await?;
    heard.wait_for_key(key).await?;
    cluster.node(owner).call(&["DEL", key]).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_atomically_are_given_up_without_any_traffic() -> Result<()> {
    let options = ClusterOptions::new(3, 0).node(ServerOptions::new(Version::Valkey9));
    let cluster = Cluster::start(options).await?;
    let (client, heard) = listening(&cluster).await?;
    let keys = keys("atomic");
    let slot = slot_of(keys[0].as_bytes());
    let from = cluster.primary_of(slot).await?;
    store_and_read(&client, &keys).await?;
    heard.clear();
    cluster
        .move_slots_atomically(slot, slot, from, (from + 1) % 3)
        .await?;
    given_up(&heard, &keys).await?;
    for key in &keys {
        change_is_heard(&cluster, &client, &heard, key).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_is_given_up_and_its_heir_tracks() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 1)).await?;
    let (client, heard) = listening(&cluster).await?;
    let keys = keys("killed");
    let slot = slot_of(keys[0].as_bytes());
    store_and_read(&client, &keys).await?;
    heard.clear();
    let old = cluster.primary_of(slot).await?;
    cluster.kill(old)?;
    given_up(&heard, &keys).await?;
    cluster.wait_for_new_primary(slot, old).await?;
    change_is_heard(&cluster, &client, &heard, &keys[0]).await?;
    status_is(&client, &TrackingStatus::On).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_steps_down_with_its_connections_open_is_given_up_without_any_traffic() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 1)).await?;
    let (client, heard) = listening(&cluster).await?;
    let keys = keys("manual");
    let slot = slot_of(keys[0].as_bytes());
    store_and_read(&client, &keys).await?;
    heard.clear();
    let old = cluster.primary_of(slot).await?;
    let heir = cluster.replicas_of(old).await?[0];
    cluster.failover(heir).await?;
    given_up(&heard, &keys).await?;
    for key in &keys {
        change_is_heard(&cluster, &client, &heard, key).await?;
    }
    status_is(&client, &TrackingStatus::On).await
}

#[tokio::test]
async fn keys_of_a_batch_on_every_primary_are_tracked_and_a_dead_primary_fails_its_own_only() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let (client, heard) = listening(&cluster).await?;
    status_is(&client, &TrackingStatus::On).await?;
    let keys: Vec<String> = (0..60).map(|number| format!("batch:{number}")).collect();
    let all: Vec<&str> = keys.iter().map(String::as_str).collect();
    // Every second key does not exist.
    for key in all.iter().step_by(2) {
        client.set(key, "1".into(), Ttl::secs(600)).await?;
    }
    for (place, lookup) in client.get_entries(&all).await.into_iter().enumerate() {
        match lookup? {
            Lookup::Found(entry) => assert!(place % 2 == 0 && entry.tracked, "{place}"),
            Lookup::Absent(absence) => assert!(place % 2 == 1 && absence.tracked, "{place}"),
        }
    }
    heard.clear();
    for key in &all {
        let owner = cluster.primary_of(slot_of(key.as_bytes())).await?;
        cluster.node(owner).call(&["SET", key, "2"]).await?;
    }
    for key in &all {
        heard.wait_for_key(key).await?;
    }

    let dead = cluster.primary_of(slot_of(all[0].as_bytes())).await?;
    let mut on_the_dead = Vec::new();
    for key in &all {
        on_the_dead.push(cluster.primary_of(slot_of(key.as_bytes())).await? == dead);
    }
    cluster.kill(dead)?;
    for (lookup, is_dead) in client.get_entries(&all).await.into_iter().zip(on_the_dead) {
        match lookup {
            Ok(Lookup::Found(entry)) => assert!(!is_dead && entry.value == "2" && entry.tracked),
            Err(error) => assert!(is_dead && error.is_transient(), "{error}"),
            Ok(absent) => panic!("{absent:?}"),
        }
    }
    Ok(())
}
