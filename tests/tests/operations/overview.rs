//! The whole cache at one look, on what is well, what is broken, and what may not be asked.

use anyhow::{Context as _, Result};
use cache_admin::{Mode, NodeRole, Overview, TrackingState, WarningKind};
use cache_core::config::Authentication;
use cache_core::{CacheConfig, Ttl};
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version, until};

use super::{LIMIT, stack, valkey};

#[tokio::test]
async fn a_cluster_is_shown_with_its_replicas_and_a_dead_one_is_a_warning() -> Result<()> {
    let node = ServerOptions::new(Version::Valkey8).line("maxmemory 100mb");
    let node = node.line("maxmemory-policy allkeys-lru");
    let cluster = Cluster::start(ClusterOptions::new(3, 1).node(node)).await?;
    let stack = stack(&cluster.addresses(), true).await?;
    for number in 0..60 {
        let key = format!("k:{number}");
        stack.client.set(&key, "value".into(), Ttl::secs(600)).await?;
        stack.client.get(&key).await?;
    }
    // A replica is named by the others once they have heard how far it is.
    let overview = until(LIMIT, "the replicas to be named", || async {
        let overview = Overview::of(&stack).await?;
        Ok((overview.nodes.len() == 6).then_some(overview))
    })
    .await?;
    assert_eq!((overview.mode, overview.keys), (Mode::Cluster, Some(60)));
    assert_eq!(overview.hit_rate, Some(1.0));
    assert_eq!(overview.primaries().count(), 3);
    assert_eq!(overview.capabilities.tracking, TrackingState::On);
    assert_eq!(overview.capabilities.scan_by_slot, Some(true));
    assert_eq!(overview.capabilities.cluster_scan, Some(false));
    assert_eq!(overview.warnings, [], "{overview:#?}");
    let mortal: Option<u64> = overview.primaries().map(|node| node.keys_with_ttl).sum();
    assert_eq!(mortal, Some(60));

    let replica = overview
        .nodes
        .iter()
        .find(|node| node.role == NodeRole::Replica)
        .context("no replica")?;
    let index = cluster
        .addresses()
        .iter()
        .position(|address| *address == replica.address);
    cluster.kill(index.context("none of ours")?)?;
    // Until the cluster itself knows, the node is listed.
    let overview = Overview::of(&stack).await?;
    if let Some(node) = overview.nodes.iter().find(|node| node.address == replica.address) {
        assert!(!node.reachable);
        let kinds: Vec<_> = overview.warnings.iter().map(|warning| warning.kind).collect();
        assert!(
            kinds.contains(&WarningKind::ReplicaUnreachable),
            "{:?}",
            overview.warnings
        );
    }
    until(
        LIMIT,
        "a warning of the primary that has no replica left, or of the replica",
        || async {
            let overview = Overview::of(&stack).await?;
            Ok((!overview.warnings.is_empty()).then_some(()))
        },
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_newer_server_says_what_it_can_do_and_slots_without_an_owner_are_said() -> Result<()> {
    let node = ServerOptions::new(Version::Valkey9).line("cluster-require-full-coverage no");
    let cluster = Cluster::start(ClusterOptions::new(3, 0).node(node)).await?;
    let stack = stack(&cluster.addresses(), true).await?;
    let can = Overview::of(&stack).await?.capabilities;
    assert_eq!(can.cluster_scan, Some(true));
    assert_eq!(can.atomic_slot_migration, Some(true));
    assert_eq!(
        (can.delete_if_equal, can.set_many_with_ttl),
        (Some(true), Some(true))
    );

    until(LIMIT, "the slot to have no owner", || async {
        for node in cluster.nodes() {
            // One that knows no owner refuses.
            let _ = node.call(&["CLUSTER", "DELSLOTS", "77"]).await;
        }
        let overview = Overview::of(&stack).await?;
        let said = overview
            .warnings
            .iter()
            .any(|warning| warning.kind == WarningKind::UncoveredSlots);
        Ok((overview.uncovered == [[77, 77]] && said).then_some(()))
    })
    .await
}

#[tokio::test]
async fn what_a_user_may_not_ask_is_missing_and_fails_nothing() -> Result<()> {
    let options =
        ServerOptions::new(Version::Valkey8).user("app on >pass ~* &* +@all -info -command -slowlog -config");
    let server = Server::start(options).await?;
    let who = Authentication::Password {
        username: Some("app".to_owned()),
        password: "pass".into(),
    };
    let valkey = valkey(&[server.address()], false)?.with_authentication(who);
    let config = CacheConfig::builder().valkey(valkey).build()?;
    let stack = Box::pin(cache_stack::assemble(&config)).await?;
    let overview = Overview::of(&stack).await?;
    let [node] = overview.nodes.as_slice() else {
        anyhow::bail!("{overview:#?}");
    };
    assert!(node.reachable);
    assert_eq!((node.keys, node.memory_used, overview.keys), (None, None, None));
    // What the greeting told.
    assert_eq!(node.server.as_deref(), Some("valkey"));
    assert_eq!(overview.capabilities.cluster_scan, None);
    assert_eq!(overview.warnings, []);
    Ok(())
}
