//! Servers that are not what the configuration says: another kind, two clusters, several nodes at one address.

use anyhow::{Context as _, Result};
use cache_admin::Health;
use cache_core::CacheError;
use cache_core::config::{Startup, Topology, ValkeyConfig};
use cache_valkey::ValkeyClient;
use tests::sentinel::PRIMARY_NAME;
use tests::{Cluster, ClusterOptions, SentinelOptions, SentinelSet, Server, until};

use super::{LIMIT, cluster, examine, found, single, sound, valkey};

fn watched(address: &str) -> Result<ValkeyConfig> {
    Ok(valkey(Topology::Sentinel {
        sentinels: vec![address.parse()?],
        master: PRIMARY_NAME.to_owned(),
        username: None,
        password: None,
        db: 0,
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_another_kind_than_the_mode_names_the_mode_and_the_right_value() -> Result<()> {
    let server = Server::start(sound()).await?;
    let nodes = Cluster::start(ClusterOptions::new(3, 0).node(sound())).await?;
    let set = SentinelSet::start(SentinelOptions::new()).await?;
    let (data, node, sentinel) = (
        server.address(),
        nodes.addresses()[0].clone(),
        set.addresses()[0].clone(),
    );
    for (config, right) in [
        (single(&sentinel)?, "CACHE_MODE=sentinel"),
        (single(&node)?, "CACHE_MODE=cluster"),
        (cluster(&[sentinel])?, "CACHE_MODE=sentinel"),
        (cluster(std::slice::from_ref(&data))?, "CACHE_MODE=single"),
        (watched(&data)?, "CACHE_MODE=single"),
        (watched(&node)?, "CACHE_MODE=cluster"),
    ] {
        for startup in [Startup::Fail, Startup::Degrade] {
            let started = ValkeyClient::builder(&config).startup(startup).connect().await;
            let error = started.err().context(right)?;
            assert!(matches!(error, CacheError::Config(_)), "{error:?}");
            assert!(error.to_string().contains(right), "{error}");
        }
        let diagnosis = examine(config).await?;
        assert_eq!(
            found(&diagnosis),
            [("configuration", Health::Fail)],
            "{diagnosis:#?}"
        );
        let seen = &diagnosis.of("configuration").context("a check")?.seen;
        assert!(seen.contains("CACHE_MODE: ") && seen.contains(right), "{seen}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_of_two_clusters_are_named_by_configuration() -> Result<()> {
    let ours = Cluster::start(ClusterOptions::new(3, 0).node(sound())).await?;
    let theirs = Cluster::start(ClusterOptions::new(3, 0).node(sound())).await?;
    let seeds = [ours.addresses()[0].clone(), theirs.addresses()[0].clone()];
    let diagnosis = examine(cluster(&seeds)?).await?;
    assert_eq!(
        found(&diagnosis),
        [("configuration", Health::Fail)],
        "{diagnosis:#?}"
    );
    let seen = &diagnosis.of("configuration").context("a check")?.seen;
    assert!(seeds.iter().all(|seed| seen.contains(seed)), "{seen}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primaries_at_one_address_are_named_by_slots() -> Result<()> {
    let node = sound().line("cluster-preferred-endpoint-type hostname");
    let mut options = ClusterOptions::new(3, 0).node(node);
    for index in 0..3 {
        options = options
            .line_for(index, "cluster-announce-hostname cache.test")
            .line_for(index, "cluster-announce-port 7000");
    }
    let servers = Cluster::start(options).await?;
    until(LIMIT, "the node to know the others' names", || async {
        let nodes = servers.node(0).call(&["CLUSTER", "SLOTS"]).await?;
        let named = nodes.items().iter().filter(|entry| {
            let primary = entry.items().get(2).map(|node| node.items()[0].text());
            primary.as_deref() == Some("cache.test")
        });
        Ok((named.count() == 3).then_some(()))
    })
    .await?;
    let config = cluster(&servers.addresses()[..1])?;
    let error = ValkeyClient::connect(&config)
        .await
        .err()
        .context("no slot is served")?;
    assert!(
        error
            .to_string()
            .contains("all go by the address cache.test:7000"),
        "{error}"
    );
    let diagnosis = examine(config).await?;
    for check in ["primaries", "slots"] {
        let finding = diagnosis.of(check).context("a check")?;
        assert_eq!(finding.state, Health::Fail, "{diagnosis:#?}");
        let (seen, advice) = (&finding.seen, finding.advice.as_deref().unwrap_or_default());
        assert!(
            seen.contains("cache.test:7000") && seen.contains("16384 of 16384"),
            "{seen}"
        );
        assert!(advice.contains("cluster-announce-hostname"), "{advice}");
    }
    Ok(())
}
