//! Servers in containers: one alone, and a cluster on a private network of its own.
//!
//! Clients come from the machine outside, through published ports, so the nodes of the cluster announce
//! those: what a client sees then is what it sees of a cluster behind an address translation.

#![expect(clippy::expect_used, reason = "an engine that fails ends the test")]

#[path = "conformance/foreign.rs"]
mod foreign;

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use cache_core::CacheConfig;
use cache_core::conformance::{Outage, SCENARIOS, Subject};
use cache_stack::Stack;
use testcontainers::core::{IntoContainerPort as _, WaitFor};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt as _};
use tests::{Connection, Docker, Reply, until};

use foreign::Lists;

/// The port inside every container.
const PORT: u16 = 6379;

/// How clients outside reach published ports.
const HOST: &str = "127.0.0.1";

const LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

type Container = ContainerAsync<GenericImage>;

async fn server(docker: &Docker, extra: &[&str]) -> Result<ContainerRequest<GenericImage>> {
    let (name, tag) = docker.valkey_image().await?;
    let mut command = vec![
        "valkey-server",
        "--protected-mode",
        "no",
        "--save",
        "",
        "--appendonly",
        "no",
    ];
    command.extend(extra);
    Ok(GenericImage::new(name, tag)
        .with_exposed_port(PORT.tcp())
        .with_wait_for(WaitFor::message_on_stdout("Ready to accept connections"))
        .with_cmd(command))
}

async fn address(container: &Container) -> Result<String> {
    Ok(format!(
        "{HOST}:{}",
        container.get_host_port_ipv4(PORT.tcp()).await?
    ))
}

/// Three primaries on a private network; gone when dropped.
struct Cluster {
    nodes: Vec<Arc<Container>>,
}

impl Cluster {
    async fn start(docker: &Docker) -> Result<Self> {
        let network = format!("cache-tests-{}", std::process::id());
        let mut nodes = Vec::new();
        for _ in 0..3 {
            let arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
            let node = server(docker, &arguments)
                .await?
                .with_network(&network)
                .start()
                .await?;
            nodes.push(Arc::new(node));
        }
        let cluster = Self { nodes };
        cluster.assemble().await?;
        Ok(cluster)
    }

    async fn assemble(&self) -> Result<()> {
        let shares = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
        let inside = self.nodes[0].get_bridge_ip_address().await?.to_string();
        for ((index, node), (first, last)) in self.nodes.iter().enumerate().zip(shares) {
            let address = address(node).await?;
            let port = address.rsplit(':').next().context("no port")?;
            let mut connection = Connection::open(&address).await?;
            connection
                .call(&["CONFIG", "SET", "cluster-announce-hostname", HOST])
                .await?;
            connection
                .call(&["CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname"])
                .await?;
            connection
                .call(&["CONFIG", "SET", "cluster-announce-port", port])
                .await?;
            connection
                .call(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()])
                .await?;
            connection
                .call(&["CLUSTER", "ADDSLOTSRANGE", first, last])
                .await?;
            if index > 0 {
                connection
                    .call(&["CLUSTER", "MEET", &inside, &PORT.to_string()])
                    .await?;
            }
        }
        until(
            LIMIT,
            "all nodes to know all slots by their announced names",
            || async {
                let expected: HashSet<String> = self.addresses().await?.into_iter().collect();
                for node in &self.nodes {
                    let mut connection = Connection::open(&address(node).await?).await?;
                    let up = connection
                        .call(&["CLUSTER", "INFO"])
                        .await?
                        .text()
                        .contains("cluster_state:ok");
                    let slots = connection.call(&["CLUSTER", "SLOTS"]).await?;
                    if !up || announced(&slots) != expected {
                        return Ok(None);
                    }
                }
                Ok(Some(()))
            },
        )
        .await
    }

    async fn addresses(&self) -> Result<Vec<String>> {
        let mut addresses = Vec::new();
        for node in &self.nodes {
            addresses.push(address(node).await?);
        }
        Ok(addresses)
    }
}

/// The addresses that `CLUSTER SLOTS` gives to clients.
fn announced(slots: &Reply) -> HashSet<String> {
    let nodes = slots
        .items()
        .iter()
        .flat_map(|range| range.items().iter().skip(2));
    nodes
        .filter_map(|node| {
            Some(format!(
                "{}:{}",
                node.items().first()?.text(),
                node.items().get(1)?.text()
            ))
        })
        .collect()
}

/// A container that stands still for a while, as a host does that is cut off.
struct Pausing(Arc<Container>);

#[async_trait]
impl Outage for Pausing {
    async fn begin(&self) {
        self.0.pause().await.expect("the engine pauses a container");
    }

    async fn end(&self) {
        self.0.unpause().await.expect("the engine resumes a container");
    }
}

/// Connects as a service does, from variables.
async fn connect(mode: &str, address: &str) -> Result<Stack> {
    let variables = [
        ("CACHE_MODE", mode),
        ("CACHE_ADDRS", address),
        ("CACHE_READ_TIMEOUT", "1s"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let loaded = CacheConfig::from_vars(variables)?;
    Ok(cache_stack::assemble(&loaded.config).await?)
}

/// Every scenario of the suite, one after the other against the same containers.
async fn conform(mode: &str, address: &str, container: &Arc<Container>) -> Result<()> {
    for scenario in SCENARIOS {
        let stack = connect(mode, address).await?;
        let client = stack.valkey().context("no client of servers")?;
        let subject = Subject::new(Arc::clone(&stack.client))
            .with_foreign_values(Lists::of(Arc::clone(client)))
            .with_drops(1_000)
            .with_load(20, 100)
            .with_outage(Pausing(Arc::clone(container)));
        let run = tokio::time::timeout(LIMIT, (scenario.run)(&subject)).await;
        run.with_context(|| format!("{} hangs", scenario.name))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_in_a_container_keeps_the_promises_of_the_contract() -> Result<()> {
    let Some(docker) = Docker::find_or_skip("a_server_in_a_container_keeps_the_promises_of_the_contract")
    else {
        return Ok(());
    };
    let container = Arc::new(server(&docker, &[]).await?.start().await?);
    conform("single", &address(&container).await?, &container).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_on_a_private_network_keeps_the_promises_of_the_contract() -> Result<()> {
    let Some(docker) =
        Docker::find_or_skip("a_cluster_on_a_private_network_keeps_the_promises_of_the_contract")
    else {
        return Ok(());
    };
    let cluster = Cluster::start(&docker).await?;
    conform("cluster", &cluster.addresses().await?[0], &cluster.nodes[1]).await
}

#[tokio::test]
async fn a_server_in_a_container_serves_clients_outside() -> Result<()> {
    let Some(docker) = Docker::find_or_skip("a_server_in_a_container_serves_clients_outside") else {
        return Ok(());
    };
    let container = server(&docker, &[]).await?.start().await?;
    let mut connection = Connection::open(&address(&container).await?).await?;
    assert_eq!(connection.call(&["PING"]).await?.text(), "PONG");
    connection.call(&["SET", "key", "value"]).await?;
    assert_eq!(connection.call(&["GET", "key"]).await?.text(), "value");
    Ok(())
}

#[tokio::test]
async fn a_cluster_on_a_private_network_serves_clients_outside() -> Result<()> {
    let Some(docker) = Docker::find_or_skip("a_cluster_on_a_private_network_serves_clients_outside") else {
        return Ok(());
    };
    let cluster = Cluster::start(&docker).await?;
    // One key of each primary: `{b}` is in slot 3300, `{c}` in 7365, `{a}` in 15495.
    for (key, address) in ["{b}", "{c}", "{a}"].into_iter().zip(cluster.addresses().await?) {
        let mut connection = Connection::open(&address).await?;
        assert_eq!(connection.call(&["PING"]).await?.text(), "PONG");
        connection.call(&["SET", key, "value"]).await?;
        assert_eq!(connection.call(&["GET", key]).await?.text(), "value");
    }
    Ok(())
}
