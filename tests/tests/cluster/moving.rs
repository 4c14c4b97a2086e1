//! Slots that move while clients use them.

use anyhow::{Context as _, Result};
use cache_core::config::ReadFrom;
use cache_core::slot::slot_of;
use cache_core::{CacheClient, CacheError, Ttl};
use cache_valkey::ValkeyClient;
use tests::{Cluster, ClusterOptions, ServerOptions, Version, until};

use crate::load::{Load, Promise};
use crate::{LIMIT, address, config, connect, expect_all, keys, store_all};

#[tokio::test]
async fn a_slot_that_is_half_way_is_read_and_written_on_both_sides() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let client = connect(cluster.node(0)).await?;
    let keys: Vec<String> = (0..40).map(|number| format!("{{half}}:{number}")).collect();
    let slot = slot_of(b"half");
    store_all(&*client, &keys).await?;
    let from = cluster.primary_of(slot).await?;
    let to = (from + 1) % 3;
    cluster.begin_move(slot, from, to).await?;
    cluster.migrate_keys(slot, from, to, 20).await?;

    expect_all(&*client, &keys).await?;
    // A new key is made where the slot is going, and counted once.
    assert_eq!(client.incr("{half}:new").await?, 1);
    assert_eq!(client.incr("{half}:new").await?, 2);
    assert!(
        client
            .set_if_absent("{half}:only", "one".into(), Ttl::Forever)
            .await?
    );
    assert!(
        !client
            .set_if_absent("{half}:only", "two".into(), Ttl::Forever)
            .await?
    );
    assert!(matches!(client.get("{half}:absent").await, Err(CacheError::Miss)));
    let twice: Vec<_> = (0..20)
        .map(|write| ("{half}:twice", write.to_string().into()))
        .collect();
    client.set_many(&twice, Ttl::Forever).await?;
    assert_eq!(
        client.get("{half}:twice").await?,
        "19",
        "the last write of a list must stay the last"
    );
    assert_eq!(client.del(&["{half}:0", "{half}:39", "{half}:absent"]).await?, 2);

    while cluster.migrate_keys(slot, from, to, 100).await? > 0 {}
    cluster.end_move(slot, from, to).await?;
    expect_all(&*client, &keys[1..39]).await?;
    assert_eq!(client.incr("{half}:new").await?, 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_to_and_fro_under_load_give_no_wrong_answer_and_no_error() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let client = connect(cluster.node(2)).await?;
    let tags: Vec<String> = (0..32)
        .map(|number| format!("{{move-{}}}:{number}", number % 4))
        .collect();
    let load = Load::start(&client, tags, Promise::KeepsAll);
    for round in 0..6 {
        let slot = slot_of(format!("move-{}", round % 4).as_bytes());
        let from = cluster.primary_of(slot).await?;
        let to = (from + 1 + round / 4) % 3;
        cluster.move_slot(slot, from, to).await?;
        cluster.move_slot(slot, to, from).await?;
    }
    let book = load.stop().await?;
    println!(
        "{} calls while 12 slots moved, slowest {:?}",
        book.calls, book.slowest
    );
    assert_eq!(book.wrong, Vec::<String>::new());
    assert!(book.errors.is_empty(), "{:?}", book.errors.first());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_atomically_under_load_give_no_wrong_answer_and_no_error() -> Result<()> {
    let options = ClusterOptions::new(3, 0).node(ServerOptions::new(Version::Valkey9));
    let cluster = Cluster::start(options).await?;
    let client = connect(cluster.node(0)).await?;
    let names = (0..48).map(|number| format!("atomic-{number}")).collect();
    let load = Load::start(&client, names, Promise::KeepsAll);
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0)] {
        cluster.move_slots_atomically(0, 2_999, from, to).await?;
    }
    let book = load.stop().await?;
    println!(
        "{} calls while 12000 slots moved, slowest {:?}",
        book.calls, book.slowest
    );
    assert_eq!(book.wrong, Vec::<String>::new());
    assert!(book.errors.is_empty(), "{:?}", book.errors.first());
    Ok(())
}

#[tokio::test]
async fn a_node_that_joins_and_takes_over_is_found_without_a_restart() -> Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let client = connect(cluster.node(0)).await?;
    let keys = keys(100);
    store_all(&*client, &keys).await?;
    let fresh = cluster.add_node().await?;
    for key in ["key:1", "key:2", "key:3"] {
        let slot = slot_of(key.as_bytes());
        let from = cluster.primary_of(slot).await?;
        cluster.move_slot(slot, from, fresh).await?;
    }
    expect_all(&*client, &keys).await?;
    client.ping().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_to_an_unknown_node_is_read_from_its_replicas_once_they_are_known() -> Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::new(3, 1)).await?;
    let key = "{unknown}:1";
    let slot = slot_of(key.as_bytes());
    let from = cluster.primary_of(slot).await?;
    cluster.node(from).call(&["SET", key, "1"]).await?;
    let mut config = config(vec![address(cluster.node(0))]);
    config.read_from = ReadFrom::Replica;
    let client = until(LIMIT, "the replicas to be listed", || async {
        let client = ValkeyClient::connect(&config).await?;
        client.get(key).await?;
        Ok(Some(client))
    })
    .await?;
    let primary = cluster.add_node().await?;
    let replica = cluster.add_node().await?;
    let id = cluster.id(primary).to_owned();
    cluster.node(replica).call(&["CLUSTER", "REPLICATE", &id]).await?;
    cluster.wait_until_ok().await?;
    cluster.move_slot(slot, from, primary).await?;
    let port = i64::from(cluster.node(primary).port());
    until(LIMIT, "all nodes to list the new replica", || async {
        for node in cluster.nodes() {
            let slots = node.call(&["CLUSTER", "SLOTS"]).await?;
            let mut of_it = slots.items().iter().filter(|range| {
                let primary = range.items().get(2).and_then(|node| node.items().get(1));
                primary.and_then(tests::Reply::integer) == Some(port)
            });
            if of_it.next().is_none_or(|range| range.items().len() < 4) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await?;
    // The first is sent on to the new primary, of which nothing else is known; the others find its replica.
    for read in 0..50 {
        let value = client.get(key).await.with_context(|| format!("read {read}"))?;
        assert_eq!(value, "1");
        assert_eq!(client.get_many(&[key]).await?, [Some("1".into())], "read {read}");
    }
    Ok(())
}
