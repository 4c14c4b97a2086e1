//! Of what is well, nothing but that is said, and nothing is left behind.

use anyhow::{Context as _, Result};
use cache_admin::Health;
use cache_core::config::{TlsConfig, Topology};
use tests::sentinel::PRIMARY_NAME;
use tests::{Certificates, Cluster, ClusterOptions, SentinelOptions, SentinelSet, Server, Tls, until};

use super::{LIMIT, cluster, examine, found, single, sound, state, valkey};

#[tokio::test]
async fn a_single_server_is_well_and_holds_no_key_of_the_doctor_s_afterwards() -> Result<()> {
    let server = Server::start(sound()).await?;
    let diagnosis = examine(single(&server.address())?).await?;
    assert_eq!(found(&diagnosis), [], "{diagnosis:#?}");
    for check in [
        "tcp",
        "auth",
        "permissions",
        "primaries",
        "eviction",
        "tracking",
        "clocks",
        "near-tier",
    ] {
        assert_eq!(state(&diagnosis, check)?, Health::Ok, "{check}: {diagnosis:#?}");
    }
    for check in ["tls", "replicas", "cluster-state", "slots", "epochs"] {
        assert_eq!(state(&diagnosis, check)?, Health::Skipped, "{check}");
    }
    assert_eq!(server.call(&["DBSIZE"]).await?.integer(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_cluster_is_well_and_the_near_tier_is_proved_on_every_primary() -> Result<()> {
    let servers = Cluster::start(ClusterOptions::new(3, 1).node(sound())).await?;
    // A replica to which nothing was written yet is not named by the others.
    let diagnosis = until(LIMIT, "the replicas to be named", || async {
        for node in servers.nodes() {
            // Where it is not theirs to serve they refuse; each key is of one of the primaries.
            for key in ["a", "b", "c"] {
                let _ = node.call(&["SET", key, "1", "PX", "1"]).await;
            }
        }
        let diagnosis = examine(cluster(&servers.addresses()[..1])?).await?;
        let epochs = &diagnosis.of("epochs").context("no such check")?.seen;
        Ok(epochs.starts_with("6 nodes").then_some(diagnosis))
    })
    .await?;
    assert_eq!(found(&diagnosis), [], "{diagnosis:#?}");
    for check in ["replicas", "cluster-state", "slots", "epochs", "near-tier"] {
        assert_eq!(state(&diagnosis, check)?, Health::Ok, "{check}: {diagnosis:#?}");
    }
    let near = &diagnosis.of("near-tier").context("no such check")?.seen;
    assert!(near.contains("on 3 primaries"), "{near}");
    Ok(())
}

#[tokio::test]
async fn a_primary_that_sentinels_watch_is_well() -> Result<()> {
    let set = SentinelSet::start(SentinelOptions::new().node(sound())).await?;
    let sentinels = set.addresses().into_iter().map(|address| address.parse());
    let sentinels = sentinels.collect::<Result<Vec<_>, _>>()?;
    let diagnosis = examine(valkey(Topology::sentinel(sentinels, PRIMARY_NAME))).await?;
    assert_eq!(found(&diagnosis), [], "{diagnosis:#?}");
    for check in ["names", "tcp", "primaries", "replicas", "near-tier"] {
        assert_eq!(state(&diagnosis, check)?, Health::Ok, "{check}: {diagnosis:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn over_tls_the_certificate_is_told_with_its_days() -> Result<()> {
    let certificates = Certificates::generate()?;
    let server = Server::start(sound().tls(Tls::new(&certificates))).await?;
    let tls = TlsConfig::new().with_ca_pem(certificates.ca.clone());
    let diagnosis = examine(single(&server.address())?.with_tls(tls)).await?;
    assert_eq!(found(&diagnosis), [], "{diagnosis:#?}");
    let seen = &diagnosis.of("tls").context("no such check")?.seen;
    assert!(
        seen.contains("CN=server") && seen.contains("by CN=cache tests") && seen.contains(" days"),
        "{seen}"
    );
    Ok(())
}
