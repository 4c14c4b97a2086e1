//! Users that are refused, or may do too little.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use cache_admin::{Doctor, Health};
use cache_core::CacheConfig;
use cache_core::config::{Authentication, ValkeyConfig};
use tests::{Cluster, ClusterOptions, Server};

use super::{cluster, doctor, examine, found, only, single, sound, state};

const PASSWORD: &str = "tried-out";

/// A server with the user `app` of these rules.
async fn server(rules: &str) -> Result<Server> {
    Server::start(sound().user(&format!("app on >{PASSWORD} {rules}"))).await
}

/// A client that is that user, by this password.
fn app(server: &Server, password: &str) -> Result<ValkeyConfig> {
    Ok(
        single(&server.address())?.with_authentication(Authentication::Password {
            username: Some("app".to_owned()),
            password: password.into(),
        }),
    )
}

#[tokio::test]
async fn a_wrong_password_is_named_by_auth_and_not_shown() -> Result<()> {
    let server = server("~* &* +@all").await?;
    let diagnosis = examine(app(&server, "not-the-one")?).await?;
    only(&diagnosis, "auth", Health::Fail);
    assert!(!format!("{diagnosis:?}").contains("not-the-one"));
    Ok(())
}

#[tokio::test]
async fn a_user_without_client_tracking_is_named_by_tracking() -> Result<()> {
    let server = server("~* &* +@all -client|tracking").await?;
    let diagnosis = examine(app(&server, PASSWORD)?).await?;
    let seen = only(&diagnosis, "tracking", Health::Warn);
    assert!(seen.contains("not reported"), "{seen}");
    assert_eq!(state(&diagnosis, "near-tier")?, Health::Skipped);
    Ok(())
}

#[tokio::test]
async fn a_user_that_one_node_does_not_know_is_named_by_auth_with_the_node() -> Result<()> {
    let node = sound().user(&format!("app on >{PASSWORD} ~* &* +@all"));
    let servers = Cluster::start(ClusterOptions::new(3, 0).node(node)).await?;
    servers.node(2).call(&["ACL", "DELUSER", "app"]).await?;
    let config = cluster(&servers.addresses()[..1])?.with_authentication(Authentication::Password {
        username: Some("app".to_owned()),
        password: PASSWORD.into(),
    });
    let diagnosis = examine(config).await?;
    assert_eq!(state(&diagnosis, "auth")?, Health::Fail, "{diagnosis:#?}");
    let seen = &diagnosis.of("auth").context("no such check")?.seen;
    assert!(
        seen.contains(&servers.addresses()[2]) && !seen.contains(&servers.addresses()[0]),
        "{seen}"
    );
    Ok(())
}

#[tokio::test]
async fn every_command_that_is_not_granted_is_named_by_permissions_whether_asked_or_tried() -> Result<()> {
    let needed = [
        "GET", "SET", "EXISTS", "INCR", "INCRBY", "PEXPIRE", "PTTL", "PERSIST", "EVAL", "EVALSHA", "UNLINK",
    ];
    for (also, how) in [("", "by ACL DRYRUN"), (" -acl", "tried")] {
        let without: Vec<String> = needed
            .iter()
            .map(|name| format!("-{}", name.to_lowercase()))
            .collect();
        let server = server(&format!("~* &* +@all {}{also}", without.join(" "))).await?;
        let diagnosis = examine(app(&server, PASSWORD)?).await?;
        assert!(
            found(&diagnosis).contains(&("permissions", Health::Fail)),
            "{diagnosis:#?}"
        );
        let seen = &diagnosis.of("permissions").context("no such check")?.seen;
        let named = seen
            .split("may not run ")
            .nth(1)
            .and_then(|rest| rest.split(" (").next());
        let named: BTreeSet<&str> = named.context("no commands")?.split(", ").collect();
        assert_eq!(named, BTreeSet::from(needed), "{seen}");
        assert!(seen.contains(how), "{seen}");
        assert_eq!(server.call(&["DBSIZE"]).await?.integer(), Some(0));
    }
    Ok(())
}

#[tokio::test]
async fn commands_of_a_cluster_that_are_not_granted_are_named_by_permissions() -> Result<()> {
    let node = sound().user(&format!("app on >{PASSWORD} ~* &* +@all -asking -cluster|info"));
    let servers = Cluster::start(ClusterOptions::new(3, 0).node(node)).await?;
    let config = cluster(&servers.addresses()[..1])?.with_authentication(Authentication::Password {
        username: Some("app".to_owned()),
        password: PASSWORD.into(),
    });
    let diagnosis = examine(config).await?;
    let seen = only(&diagnosis, "permissions", Health::Fail);
    assert!(seen.contains("may not run ASKING, CLUSTER INFO (by"), "{seen}");
    // What may not be looked at is not told as broken.
    assert_eq!(state(&diagnosis, "cluster-state")?, Health::Skipped);
    Ok(())
}

#[tokio::test]
async fn the_user_of_a_service_is_well_below_its_own_keys_and_told_so_elsewhere() -> Result<()> {
    // As SECURITY.md has it for a service.
    let rules = "~billing:* +hello +auth +ping +client|setinfo +client|tracking +client|caching +get +getdel +getex +set \
                 +unlink +exists +incr +incrby +pexpire +pttl +evalsha +eval +persist";
    let server = server(rules).await?;
    let elsewhere = examine(app(&server, PASSWORD)?).await?;
    let seen = only(&elsewhere, "permissions", Health::Fail);
    assert!(seen.contains("cachectl-doctor:"), "{seen}");

    let own = doctor(app(&server, PASSWORD)?)?.with_key_prefix("billing:doctor:");
    let diagnosis = own.examine().await;
    assert_eq!(found(&diagnosis), [], "{diagnosis:#?}");
    let permissions = diagnosis.of("permissions").context("no such check")?;
    assert!(
        permissions.seen.contains("not for operators: SCAN"),
        "{permissions:?}"
    );
    // It may not ask for these, which is no fault.
    assert_eq!(state(&diagnosis, "eviction")?, Health::Skipped);
    assert_eq!(state(&diagnosis, "near-tier")?, Health::Ok);

    // The prefix of the configuration does the same.
    let config = CacheConfig::builder()
        .valkey(app(&server, PASSWORD)?)
        .key_prefix("billing:");
    let diagnosis = Doctor::new(config.build()?).examine().await;
    assert_eq!(found(&diagnosis), [], "{diagnosis:#?}");
    Ok(())
}
