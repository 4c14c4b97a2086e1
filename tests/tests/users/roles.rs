//! Every role can do what it is for by our own client, and nothing else.

use std::time::Duration;

use anyhow::{Result, ensure};
use cache_admin::users::{try_out, verify};
use cache_admin::{Engine, Options, Outcome, ValkeyKeys};
use cache_core::{CacheClient as _, CacheError, Pattern, TrackingStatus, Ttl};
use cache_valkey::ValkeyClient;
use tests::{Cluster, Version, until};

use crate::{DECLARED, Declared, cluster_config, cluster_of, logged_in};

/// How long the nodes of a cluster may take to agree.
const AGREE: Duration = Duration::from_secs(10);

/// How many refusals the nodes have put down.
async fn refusals(cluster: &Cluster) -> Result<usize> {
    let mut count = 0;
    for node in cluster.nodes() {
        count += node.call(&["ACL", "LOG"]).await?.items().len();
    }
    Ok(count)
}

async fn forget_refusals(cluster: &Cluster) -> Result<()> {
    for node in cluster.nodes() {
        node.call(&["ACL", "LOG", "RESET"]).await?;
    }
    Ok(())
}

fn is_tracking(client: &ValkeyClient) -> bool {
    let source = client.invalidations();
    source.is_some_and(|source| source.status() == TrackingStatus::On)
}

fn is_denied<T>(result: &Result<T, CacheError>) -> bool {
    matches!(result, Err(CacheError::Denied { .. }))
}

/// What each role may and may not, by dry runs on every node and by our own client.
async fn every_role(version: Version) -> Result<()> {
    let cluster = cluster_of(version).await?;
    let config = cluster_config(&cluster)?;
    let root = ValkeyClient::connect(&config).await?;
    let declared = Declared::read(DECLARED)?;
    let nodes = declared.apply(&root).await?;
    let verified = verify(&declared.declaration, &nodes).await;
    ensure!(verified.failed.is_empty(), "{:#?}", verified.failed);
    ensure!(
        verified.unreached.is_empty() && verified.tried > 6 * 150,
        "{}",
        verified.tried
    );
    for trial in try_out(&declared.declaration, &declared.credentials, &config).await {
        assert_eq!((trial.problem, trial.password), (None, Some(1)), "{}", trial.user);
    }
    let login = async |user: &str, name: &str| ValkeyClient::connect(&logged_in(&config, user, name)).await;

    forget_refusals(&cluster).await?;
    let service = login("app-billing", "BILLING").await?;
    let keys: Vec<String> = (0..30).map(|number| format!("billing:{number}")).collect();
    for key in &keys {
        service.set(key, "a".into(), Ttl::secs(600)).await?;
    }
    assert!(is_tracking(&service));
    let reader = login("app-billing-reader", "READER").await?;
    assert_eq!(reader.get(&keys[0]).await?, "a");
    assert!(is_tracking(&reader));
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert!(reader.get_many(&names).await?.iter().all(Option::is_some));
    assert_eq!(reader.exists(&names).await?, 30);
    assert_eq!(refusals(&cluster).await?, 0, "what they are for is refused");

    assert!(is_denied(&reader.set(&keys[0], "b".into(), Ttl::Forever).await));
    assert!(is_denied(&reader.del(&[&keys[0]]).await));
    assert!(is_denied(&reader.get("search:1").await));
    assert!(is_denied(&service.get("search:1").await));
    assert!(is_denied(&service.compare_and_delete("search:1", b"a").await));
    let all = Pattern::new("billing:*")?;
    let by_service = Engine::new(ValkeyKeys::new(&service))
        .invalidate(&all, &Options::default())
        .await;
    assert!(
        !matches!(by_service.outcome, Outcome::Complete),
        "a service may scan"
    );

    forget_refusals(&cluster).await?;
    let invalidator = login("app-billing-invalidator", "INVALIDATOR").await?;
    let some = Pattern::new("billing:1*")?;
    let report = Engine::new(ValkeyKeys::new(&invalidator))
        .invalidate(&some, &Options::default())
        .await;
    ensure!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    assert_eq!(report.total().removed, 11);
    assert_eq!(
        untold(&cluster).await?,
        0,
        "what an invalidator is for is refused"
    );
    assert!(is_denied(&invalidator.get("billing:2").await));
    assert!(is_denied(
        &invalidator.set("billing:2", "b".into(), Ttl::Forever).await
    ));
    root.set("search:1", "a".into(), Ttl::Forever).await?;
    let foreign = Pattern::new("search:*")?;
    let report = Engine::new(ValkeyKeys::new(&invalidator))
        .invalidate(&foreign, &Options::default())
        .await;
    assert!(!matches!(report.outcome, Outcome::Complete), "{report:?}");
    assert_eq!(root.get("search:1").await?, "a");

    let operator = login("app-oncall", "ONCALL").await?;
    let engine = Engine::new(ValkeyKeys::new(&operator));
    assert_eq!(engine.key_count().await?, 20);
    let report = engine.invalidate(&foreign, &Options::default()).await;
    ensure!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    assert!(is_denied(&operator.get("billing:2").await));
    assert!(
        matches!(operator.ttl("billing:2").await?, Ttl::After(_)),
        "lives are no values"
    );
    operator
        .set("cachectl-doctor:probe", "a".into(), Ttl::secs(9))
        .await?;
    assert_eq!(operator.get("cachectl-doctor:probe").await?, "a");
    assert!(is_tracking(&operator));
    assert!(is_denied(
        &operator.set("billing:2", "b".into(), Ttl::Forever).await
    ));
    operator.incr("billing:v1:#generation").await?;

    let viewer = login("app-board", "BOARD").await?;
    // A node leaves out what it has not heard of for a moment.
    until(AGREE, "the board to see every node", || async {
        let nodes = viewer.administration().topology().await?.nodes;
        Ok((nodes.len() == 6).then_some(()))
    })
    .await?;
    assert_eq!(
        Engine::new(ValkeyKeys::new(&viewer)).key_count().await?,
        21 + 1 - 1
    );
    assert!(is_denied(&viewer.get("billing:2").await));
    let report = Engine::new(ValkeyKeys::new(&viewer))
        .invalidate(&all, &Options::default())
        .await;
    assert!(!matches!(report.outcome, Outcome::Complete), "{report:?}");
    Ok(())
}

/// Refusals but those of subscribing to changes, which whoever only removes has no need of.
async fn untold(cluster: &Cluster) -> Result<usize> {
    let mut count = 0;
    for node in cluster.nodes() {
        let log = node.call(&["ACL", "LOG"]).await?;
        let objects = log.items().iter().filter_map(|entry| entry.field("object"));
        count += objects.filter(|object| !object.starts_with("client|")).count();
    }
    Ok(count)
}

#[tokio::test]
async fn every_role_does_what_it_is_for_and_nothing_else_on_valkey_8() -> Result<()> {
    every_role(Version::Valkey8).await
}

#[tokio::test]
async fn every_role_does_what_it_is_for_and_nothing_else_on_valkey_9() -> Result<()> {
    every_role(Version::Valkey9).await
}
