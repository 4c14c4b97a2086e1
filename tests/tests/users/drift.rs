//! What was changed by hand, or missed a node, is found and mended.

use anyhow::Result;
use cache_admin::users::{Change, verify};
use cache_valkey::ValkeyClient;
use tests::Version;

use crate::{DECLARED, Declared, LIMIT, USERS, cluster_config, cluster_of, told};

#[tokio::test]
async fn a_replica_that_differs_is_named_and_mended() -> Result<()> {
    let cluster = cluster_of(Version::Valkey8).await?;
    let client = ValkeyClient::connect(&cluster_config(&cluster)?).await?;
    let declared = Declared::read(DECLARED)?;
    let nodes = declared.apply(&client).await?;
    let replica = cluster.node(3);
    replica.call(&["ACL", "DELUSER", "app-search"]).await?;
    replica
        .call(&[
            "ACL",
            "SETUSER",
            "app-billing-reader",
            "+set",
            "-get",
            "~search:*",
        ])
        .await?;

    let plan = declared.plan(&nodes).await;
    let drift = plan.drift();
    let told_of: Vec<_> = drift
        .iter()
        .map(|one| (one.user.as_str(), one.address.as_str(), one.replica, one.missing))
        .collect();
    let address = replica.address();
    assert_eq!(
        told_of,
        [
            ("app-billing-reader", address.as_str(), true, false),
            ("app-search", address.as_str(), true, true)
        ]
    );
    let steps: Vec<_> = plan.nodes.iter().flat_map(|node| &node.steps).collect();
    let update = steps.iter().find(|step| step.user == "app-billing-reader");
    let remove = ["+set", "-get", "~search:*"].map(str::to_owned);
    assert_eq!(
        update.map(|step| &step.change),
        Some(&Change::Update {
            add: ["+get".to_owned()].into(),
            remove: remove.into(),
            passwords: 0
        })
    );
    let verified = verify(&declared.declaration, &nodes).await;
    let rows: Vec<_> = verified.failed.iter().collect();
    assert!(
        !rows.is_empty() && rows.iter().all(|row| row.address == address),
        "{rows:?}"
    );
    let read = rows
        .iter()
        .find(|row| row.user == "app-billing-reader" && row.command.starts_with("get billing:"));
    assert!(
        read.is_some_and(|row| row.found.contains("no permissions")),
        "{rows:?}"
    );

    assert!(plan.apply().await?.is_complete());
    let plan = declared.plan(&nodes).await;
    assert!(plan.is_empty() && plan.drift().is_empty(), "{plan:?}");
    assert!(!told(replica, "app-billing-reader").await?.contains("search"));
    assert!(verify(&declared.declaration, &nodes).await.failed.is_empty());
    Ok(())
}

#[tokio::test]
async fn users_that_are_declared_no_more_go_and_those_of_others_stay() -> Result<()> {
    let cluster = cluster_of(Version::Valkey8).await?;
    let client = ValkeyClient::connect(&cluster_config(&cluster)?).await?;
    let declared = Declared::read(DECLARED)?;
    let nodes = declared.apply(&client).await?;
    for node in cluster.nodes() {
        node.call(&["ACL", "SETUSER", "another", "on", "nopass", "+ping"])
            .await?;
    }
    let less = DECLARED.replace("[admins.board]\nrole = 'viewer'\npassword = 'env:BOARD'\n", "");
    let less = Declared::read(&less)?;
    let plan = less.plan(&nodes).await;
    assert_eq!(plan.step_count(), 6);
    assert!(
        plan.nodes
            .iter()
            .all(|node| node.steps[0].change == Change::Delete)
    );
    assert!(plan.apply().await?.is_complete());
    for node in cluster.nodes() {
        assert!(told(node, "app-board").await.is_err());
        told(node, "another").await?;
    }
    assert!(less.plan(&nodes).await.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_node_that_is_away_is_told_and_gets_its_users_when_it_is_back() -> Result<()> {
    let cluster = cluster_of(Version::Valkey8).await?;
    let mut config = cluster_config(&cluster)?;
    config.dial_timeout = std::time::Duration::from_secs(1);
    let client = ValkeyClient::connect(&config).await?;
    let declared = Declared::read(DECLARED)?;
    cluster.kill(5)?;
    let nodes = declared.nodes(&client).await?;
    assert_eq!(nodes.len(), 6, "it is still one of the cluster");
    let applied = declared.plan(&nodes).await.apply().await?;
    assert!(!applied.is_complete());
    assert_eq!((applied.done.len(), applied.unreached.len()), (5 * USERS, 1));
    assert_eq!(applied.unreached[0].0, cluster.node(5).address());

    cluster.restart(5).await?;
    tests::until(LIMIT, "the replica to be given its users", || async {
        let nodes = declared.nodes(&client).await?;
        let plan = declared.plan(&nodes).await;
        let done = plan.apply().await?;
        Ok(done.is_complete().then_some(()))
    })
    .await?;
    told(cluster.node(5), "app-search").await?;
    Ok(())
}
