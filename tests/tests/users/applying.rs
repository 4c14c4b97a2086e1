//! A declaration is put into force on every node, once, and outlives a restart.

use anyhow::Result;
use cache_core::{CacheClient as _, CacheError, Ttl};
use cache_valkey::ValkeyClient;
use cache_valkey::admin::AclSaved;
use tests::{Server, ServerOptions, Version};

use crate::{DECLARED, Declared, LIMIT, USERS, cluster_config, cluster_of, logged_in, single_config, told};

fn single() -> Result<Declared> {
    Declared::read(&DECLARED.replace("'cluster'", "'single'"))
}

#[tokio::test]
async fn users_are_made_saved_and_there_after_a_restart() -> Result<()> {
    let options = ServerOptions::new(Version::Valkey8).user("stranger on nopass ~strange:* +get");
    let server = Server::start(options).await?;
    let config = single_config(&server)?;
    let client = ValkeyClient::connect(&config).await?;
    let declared = single()?;
    let nodes = declared.nodes(&client).await?;
    let plan = declared.plan(&nodes).await;
    assert_eq!((plan.step_count(), nodes.len()), (USERS, 1));
    assert!(plan.foreign.contains("stranger") && plan.foreign.contains("default"));
    assert_eq!(plan.unguarded.iter().collect::<Vec<_>>(), ["default", "steering"]);
    let stranger = told(&server, "stranger").await?;
    let applied = plan.apply().await?;
    assert!(applied.is_complete(), "{applied:?}");
    assert_eq!(applied.saved[0].1.clone()?, AclSaved::AclFile);
    assert!(declared.plan(&nodes).await.is_empty());

    server.restart().await?;
    let client = ValkeyClient::connect(&config).await?;
    let plan = declared.plan(&declared.nodes(&client).await?).await;
    assert!(plan.is_empty(), "{plan:?}");
    assert_eq!(told(&server, "stranger").await?, stranger);
    let service = ValkeyClient::connect(&logged_in(&config, "app-billing", "BILLING")).await?;
    service.set("billing:1", "a".into(), Ttl::secs(60)).await?;
    Ok(())
}

#[tokio::test]
async fn every_node_of_a_cluster_gets_them_replicas_and_the_configuration_file_included() -> Result<()> {
    let cluster = cluster_of(Version::Valkey8).await?;
    let config = cluster_config(&cluster)?;
    let client = ValkeyClient::connect(&config).await?;
    let declared = Declared::read(DECLARED)?;
    let nodes = declared.nodes(&client).await?;
    assert_eq!(nodes.len(), 6);
    assert_eq!(nodes.iter().filter(|node| node.is_replica()).count(), 3);
    let plan = declared.plan(&nodes).await;
    assert_eq!(plan.step_count(), 6 * USERS);
    let applied = plan.apply().await?;
    assert!(applied.is_complete(), "{applied:?}");
    assert!(
        applied
            .saved
            .iter()
            .all(|(_, saved)| matches!(saved, Ok(AclSaved::ConfigFile)))
    );
    for node in cluster.nodes() {
        let rules = told(node, "app-billing-reader").await?;
        assert!(
            rules.contains("%R~billing:*") && rules.contains("+get"),
            "{rules}"
        );
    }
    let plan = declared.plan(&nodes).await;
    assert!(plan.is_empty(), "{plan:?}");

    // Who manages users may do the same with the user that is made for it, and no more.
    let keeper = ValkeyClient::connect(&logged_in(&config, "app-keeper", "KEEPER")).await?;
    let nodes = declared.nodes(&keeper).await?;
    cluster.node(4).call(&["ACL", "DELUSER", "app-board"]).await?;
    let plan = declared.plan(&nodes).await;
    assert_eq!(plan.step_count(), 1);
    assert!(plan.apply().await?.is_complete());
    assert!(declared.plan(&nodes).await.is_empty());
    let denied = keeper.get("billing:1").await.unwrap_err();
    assert!(matches!(denied, CacheError::Denied { .. }), "{denied}");
    Ok(())
}

#[tokio::test]
async fn the_replica_of_a_single_server_gets_them_although_no_read_goes_there() -> Result<()> {
    let primary = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let replica = Server::start(ServerOptions::new(Version::Valkey8).replica_of(&primary)).await?;
    let client = ValkeyClient::connect(&single_config(&primary)?).await?;
    let declared = single()?;
    let nodes = tests::until(LIMIT, "the primary to know its replica", || async {
        let nodes = declared.nodes(&client).await?;
        Ok((nodes.len() == 2).then_some(nodes))
    })
    .await?;
    assert!(!nodes[0].is_replica() && nodes[1].is_replica());
    assert!(declared.plan(&nodes).await.apply().await?.is_complete());
    told(&replica, "app-billing").await?;
    assert!(declared.plan(&nodes).await.is_empty());
    Ok(())
}

#[tokio::test]
async fn servers_of_another_kind_than_declared_are_refused() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let client = ValkeyClient::connect(&single_config(&server)?).await?;
    let error = Declared::read(DECLARED)?.nodes(&client).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "wrong configuration: topology: must be single or sentinel: that is what the servers are"
    );
    Ok(())
}
