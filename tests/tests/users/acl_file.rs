//! `cachectl users export --format acl`: servers that start with the file have the users, each as its role says, and
//! let nobody else in.

use std::path::Path;

use anyhow::{Result, ensure};
use cache_admin::users::{export, try_out, verify};
use cache_core::config::{Authentication, ValkeyConfig};
use cache_core::{CacheClient as _, CacheError, Ttl};
use cache_valkey::ValkeyClient;
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version};

use crate::{DECLARED, Declared, cluster_config, logged_in, single_config};

/// The user by which these tests steer their servers; one line behind what was exported.
const STEERING: &str = "user steering on nopass ~* &* +@all\n";

/// Writes the file, and tells a server of it.
fn exported(declared: &Declared, folder: &Path, version: Version) -> Result<ServerOptions> {
    let exported = export::acl_file(&declared.declaration, &declared.credentials);
    assert!(exported.notes.is_empty(), "{:?}", exported.notes);
    let file = folder.join("users.acl");
    std::fs::write(&file, format!("{}{STEERING}", exported.text))?;
    // That there is a user makes the steering log in; the file of the second line holds.
    let options = ServerOptions::new(version).user("nobody off");
    Ok(options.line(format!("aclfile {}", file.display())))
}

/// Every role may what it is for and nothing else, and there is nothing left to apply.
async fn it_is_as_declared(declared: &Declared, config: &ValkeyConfig) -> Result<()> {
    let steering = config.clone().with_authentication(Authentication::Password {
        username: Some("steering".to_owned()),
        password: "any".to_owned().into(),
    });
    let root = ValkeyClient::connect(&steering).await?;
    let nodes = declared.nodes(&root).await?;
    let plan = declared.plan(&nodes).await;
    ensure!(plan.is_empty(), "{plan:#?}");
    let verified = verify(&declared.declaration, &nodes).await;
    ensure!(verified.failed.is_empty(), "{:#?}", verified.failed);
    ensure!(
        verified.unreached.is_empty() && verified.tried > 150,
        "{}",
        verified.tried
    );
    let trials = try_out(&declared.declaration, &declared.credentials, config).await;
    assert_eq!(trials.len(), crate::USERS);
    for trial in trials {
        assert_eq!((trial.problem, trial.password), (None, Some(1)), "{}", trial.user);
    }
    let service = ValkeyClient::connect(&logged_in(config, "app-billing", "BILLING")).await?;
    service.set("billing:1", "a".into(), Ttl::secs(60)).await?;
    let foreign = service.set("search:1", "a".into(), Ttl::secs(60)).await;
    ensure!(matches!(foreign, Err(CacheError::Denied { .. })), "{foreign:?}");

    // Nobody else: not without a login, not by another's password.
    for config in [config.clone(), logged_in(config, "app-billing", "SEARCH")] {
        let refused = match ValkeyClient::connect(&config).await {
            Ok(client) => client.get("billing:1").await.map(drop),
            Err(error) => Err(error),
        };
        let error = refused.err();
        ensure!(
            matches!(
                error,
                Some(CacheError::Unauthorized { .. } | CacheError::Denied { .. })
            ),
            "{error:?}"
        );
    }
    Ok(())
}

async fn on_a_single_server(version: Version, number: &str) -> Result<()> {
    let single = DECLARED.replace("'cluster'", "'single'");
    let declared = Declared::read(&format!("version = '{number}'\n{single}"))?;
    let folder = tempfile::tempdir()?;
    let server = Server::start(exported(&declared, folder.path(), version)?).await?;
    it_is_as_declared(&declared, &single_config(&server)?).await
}

#[tokio::test]
async fn a_server_that_starts_with_the_exported_file_is_as_declared_on_valkey_8() -> Result<()> {
    on_a_single_server(Version::Valkey8, "8.0").await
}

#[tokio::test]
async fn a_server_that_starts_with_the_exported_file_is_as_declared_on_valkey_9() -> Result<()> {
    on_a_single_server(Version::Valkey9, "9.1").await
}

#[tokio::test]
async fn a_cluster_that_starts_with_the_exported_file_is_as_declared() -> Result<()> {
    let declared = Declared::read(DECLARED)?;
    let folder = tempfile::tempdir()?;
    let options = exported(&declared, folder.path(), Version::Valkey8)?;
    let cluster = Cluster::start(ClusterOptions::new(3, 0).node(options)).await?;
    it_is_as_declared(&declared, &cluster_config(&cluster)?).await
}
