//! Clusters that announce what leads nowhere from here, or what their certificates do not carry.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use cache_admin::{Doctor, Engine, Health, Options};
use cache_core::config::{AddressMap, Topology, ValkeyConfig};
use cache_core::{CacheClient as _, CacheConfig, CacheError, Pattern, Ttl, Unavailability};
use cache_stack::Foundation;
use cache_valkey::ValkeyClient;
use serde_json::Value;
use tests::{Certificates, Cluster, ClusterOptions, ServerOptions, Tls, Version, until};

use crate::{LIMIT, address, tls};

const NODES: usize = 3;

/// A cluster whose nodes announce names that nothing here knows.
async fn hidden(node: ServerOptions) -> Result<Cluster> {
    let mut options = ClusterOptions::new(NODES, 0).node(node);
    for index in 0..NODES {
        options = options
            .line_for(index, format!("cluster-announce-hostname node-{index}.invalid"))
            .line_for(index, "cluster-preferred-endpoint-type hostname");
    }
    let cluster = Cluster::start(options).await?;
    until(LIMIT, "all nodes to know all names", || async {
        let mut known = true;
        for node in cluster.nodes() {
            let told = node.call(&["CLUSTER", "NODES"]).await?.text();
            known &= (0..NODES).all(|index| told.contains(&format!("node-{index}.invalid")));
        }
        Ok(known.then_some(()))
    })
    .await?;
    Ok(cluster)
}

fn config(cluster: &Cluster) -> Result<ValkeyConfig> {
    Ok(ValkeyConfig::new(Topology::cluster([address(
        &cluster.node(0).address(),
    )?])))
}

/// Where the announced names are reachable.
fn map(cluster: &Cluster) -> String {
    let entries = cluster
        .nodes()
        .iter()
        .enumerate()
        .map(|(index, node)| format!("node-{index}.invalid:{}={}", node.port(), node.address()));
    entries.collect::<Vec<_>>().join(",")
}

async fn works(client: &ValkeyClient) -> Result<()> {
    for index in 0..50 {
        let key = format!("key:{index}");
        client.set(&key, "value".into(), Ttl::Forever).await?;
        assert_eq!(client.get(&key).await?, "value");
    }
    Ok(())
}

/// Runs `cachectl` on the cluster; its exit code, and all that it says.
async fn cachectl(
    cluster: &Cluster,
    variables: &[(&str, &str)],
    arguments: &[&str],
) -> Result<(i32, String, String)> {
    let output = tokio::process::Command::new(tests::cachectl().await?)
        .args(arguments)
        .env_clear()
        .env("CACHE_MODE", "cluster")
        .env("CACHE_ADDRS", cluster.node(0).address())
        .envs(variables.iter().copied())
        .output()
        .await?;
    let code = output.status.code().context("ended by a signal")?;
    Ok((
        code,
        String::from_utf8(output.stdout)?,
        String::from_utf8(output.stderr)?,
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_nowhere_is_told_with_who_announced_it() -> Result<()> {
    let cluster = hidden(ServerOptions::new(Version::Valkey8)).await?;
    let seed = cluster.node(0).address();
    let error = ValkeyClient::connect(&config(&cluster)?)
        .await
        .err()
        .context("the client connected")?;
    let text = error.to_string();
    println!("{text}");
    assert!(
        matches!(
            &error,
            CacheError::Unavailable {
                reason: Unavailability::Resolve,
                ..
            }
        ),
        "{error:?}"
    );
    for part in ["node-", &format!("which {seed} announces"), "CACHE_ADDRESS_MAP"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(!text.contains("CACHE_ADDRS"), "{text}");

    let config = CacheConfig::builder().valkey(config(&cluster)?).build()?;
    let diagnosis = Doctor::new(config).examine().await;
    let names = diagnosis.of("names").context("no check of names")?;
    assert_eq!(names.state, Health::Fail, "{diagnosis:#?}");
    assert!(
        names.seen.contains("node-1.invalid") && !names.seen.contains("127.0.0.1"),
        "{}",
        names.seen
    );
    let advice = names.advice.as_deref().unwrap_or_default();
    assert!(advice.contains("CACHE_ADDRESS_MAP"), "{advice}");
    let all = format!("{diagnosis:?}");
    assert!(
        !all.contains("not allowed to look"),
        "no permission is missing: {diagnosis:#?}"
    );

    let (code, out, err) = cachectl(&cluster, &[], &["topology"]).await?;
    println!("{out}{err}");
    assert_eq!(code, 4);
    for index in 0..NODES {
        assert!(out.contains(&format!("node-{index}.invalid")), "{out}");
    }
    assert!(err.contains(&format!("which {seed} announces")), "{err}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announced_addresses_are_reached_where_the_map_says() -> Result<()> {
    let cluster = hidden(ServerOptions::new(Version::Valkey8)).await?;
    let map = map(&cluster);
    let config = config(&cluster)?.with_address_map(map.parse::<AddressMap>()?);
    let client = Arc::new(ValkeyClient::connect(&config).await?);
    works(&client).await?;
    let engine = Engine::of(&Foundation::Valkey(Arc::clone(&client)))?;
    let report = engine
        .invalidate(Pattern::new("key:*")?, &Options::default())
        .await;
    assert_eq!(report.total().removed, 50, "{report:?}");
    let variables = [("CACHE_ADDRESS_MAP", map.as_str())];
    let (code, out, err) = cachectl(&cluster, &variables, &["topology", "--json"]).await?;
    let view: Value = serde_json::from_str(out.trim()).with_context(|| format!("{out}{err}"))?;
    assert_eq!(
        (code, view["nodes"].as_array().map(Vec::len)),
        (0, Some(NODES)),
        "{out}{err}"
    );
    let built = CacheConfig::builder().valkey(config).build()?;
    let diagnosis = Doctor::new(built).examine().await;
    for check in ["names", "tcp", "primaries"] {
        let finding = diagnosis.of(check).context("no such check")?;
        assert_eq!(finding.state, Health::Ok, "{finding:?}");
    }
    // A map that leads nowhere is blamed itself.
    let wrong = "node-0.invalid=gone.invalid,node-1.invalid=gone.invalid,node-2.invalid=gone.invalid";
    let config = self::config(&cluster)?.with_address_map(wrong.parse()?);
    let error = ValkeyClient::connect(&config)
        .await
        .err()
        .context("the client connected")?;
    assert!(
        error
            .to_string()
            .contains("CACHE_ADDRESS_MAP says is reachable at gone.invalid"),
        "{error}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_for_one_name_serve_a_cluster_that_announces_addresses() -> Result<()> {
    let made = Certificates::generate()?;
    let node = ServerOptions::new(Version::Valkey8).tls(Tls::new(&made).identity(&made.wrong_host));
    let cluster = Cluster::start(ClusterOptions::new(NODES, 0).node(node)).await?;
    let error = ValkeyClient::connect(&config(&cluster)?.with_tls(tls(&made.ca, None)))
        .await
        .err();
    let error = error.context("the client connected")?.to_string();
    assert!(
        error.contains("it carries elsewhere.test") && error.contains("CACHE_TLS_SERVER_NAME"),
        "{error}"
    );
    let named = config(&cluster)?.with_tls(tls(&made.ca, None).with_server_name("elsewhere.test"));
    let client = ValkeyClient::connect(&named).await?;
    works(&client).await?;
    assert_eq!(
        client
            .administration()
            .topology()
            .await?
            .nodes
            .iter()
            .filter(|node| node.reachable)
            .count(),
        NODES
    );
    let built = CacheConfig::builder().valkey(named).build()?;
    let diagnosis = Doctor::new(built).examine().await;
    assert_eq!(
        diagnosis.of("tls").map(|finding| finding.state),
        Some(Health::Ok),
        "{diagnosis:#?}"
    );
    let other = config(&cluster)?.with_tls(tls(&made.ca, None).with_server_name("other.test"));
    let error = ValkeyClient::connect(&other)
        .await
        .err()
        .context("the client connected")?
        .to_string();
    assert!(
        error.contains("is not for other.test") && error.contains("elsewhere.test"),
        "{error}"
    );
    Ok(())
}
