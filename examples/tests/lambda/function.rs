//! The function without a freeze: its answers, its failures, its connections and its end.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version};

use crate::process::Process;
use crate::runtime_api::RuntimeApi;

const EVENT: &str = r#"{"tenant":"acme"}"#;

#[tokio::test]
async fn one_client_with_one_connection_serves_all_invocations() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let address = server.address();
    let api = RuntimeApi::start().await?;
    let variables = [
        ("CACHE_ADDRS", address.as_str()),
        ("CACHE_CLIENT_NAME", "function"),
    ];
    let function = Process::start(&api, &variables)?;
    let served_from = async |event| anyhow::Ok(api.invoke(event).await?["served_from"].clone());
    assert_eq!(served_from(EVENT).await?, "database");
    for _ in 0..20 {
        assert_eq!(served_from(EVENT).await?, "cache");
    }
    assert_eq!(connections(&server).await?, 1);
    let (status, log) = function.stop().await?;
    ensure!(status.success() && log.contains("stopped"), "{status}: {log}");
    Ok(())
}

#[tokio::test]
async fn cluster_gets_at_most_one_connection_per_node() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 1)).await?;
    let address = cluster.node(0).address();
    let api = RuntimeApi::start().await?;
    let variables = [
        ("CACHE_MODE", "cluster"),
        ("CACHE_ADDRS", address.as_str()),
        ("CACHE_CLIENT_NAME", "function"),
        ("CACHE_L1_MAX_BYTES", "8MiB"),
    ];
    let _function = Process::start(&api, &variables)?;
    for _ in 0..2 {
        for tenant in 0..30 {
            api.invoke(&format!(r#"{{"tenant":"tenant-{tenant}"}}"#)).await?;
        }
    }
    let mut found = Vec::new();
    for node in cluster.nodes() {
        found.push(connections(node).await?);
    }
    assert_eq!(found.iter().max(), Some(&1), "{found:?}");
    Ok(())
}

/// How many connections the function has to a server.
async fn connections(server: &Server) -> Result<usize> {
    let clients = server.call(&["CLIENT", "LIST", "TYPE", "normal"]).await?.text();
    let of_function = clients.lines().filter(|line| line.contains("name=function"));
    Ok(of_function.count())
}

#[tokio::test]
async fn event_that_is_not_understood_fails_its_own_invocation_only() -> Result<()> {
    let api = RuntimeApi::start().await?;
    let _function = Process::start(&api, &[])?;
    let id = api.send("{}")?;
    let post = api.posted().await?;
    assert_eq!(post.path, format!("invocation/{id}/error"));
    let said = post.body["errorMessage"].as_str().unwrap_or_default();
    assert!(said.starts_with("the event is not"), "{said}");
    assert_eq!(api.invoke(EVENT).await?["plan"], "free");
    Ok(())
}

#[tokio::test]
async fn cache_that_does_not_answer_costs_its_deadline_and_no_invocation() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let address = server.address();
    let mut api = RuntimeApi::start().await?;
    api.timeout = Duration::from_secs(3);
    let variables = [("CACHE_ADDRS", address.as_str()), ("CACHE_OP_TIMEOUT", "300ms")];
    let function = Process::start(&api, &variables)?;
    api.invoke(EVENT).await?;
    server.pause()?;
    for _ in 0..3 {
        assert_eq!(api.invoke(EVENT).await?["served_from"], "database");
    }
    server.resume()?;
    let limit = Duration::from_secs(10);
    tests::until(limit, "an answer of the cache", || async {
        let answer = api.invoke(EVENT).await?;
        Ok((answer["served_from"] == "cache").then_some(()))
    })
    .await?;
    drop(function);
    Ok(())
}

#[tokio::test]
async fn function_that_cannot_start_says_why() -> Result<()> {
    let api = RuntimeApi::start().await?;
    let function = Process::start(&api, &[("CACHE_OP_TIMEOUT", "soon")])?;
    let post = api.posted().await?;
    assert_eq!(post.path, "init/error");
    let said = post.body["errorMessage"].as_str().unwrap_or_default();
    assert!(said.contains("CACHE_OP_TIMEOUT"), "{said}");
    let (status, _) = function.ended().await?;
    assert!(!status.success(), "{status}");
    Ok(())
}
