//! A replica that cannot answer is left out of reads for a while, and comes back when it can.

use anyhow::{Context as _, Result};
use cache_core::{CacheClient as _, Ttl};
use cache_valkey::ValkeyClient;
use tests::{Server, ServerOptions, Version, until};

use crate::runtimes::with_replica;
use crate::setup::LIMIT;

/// `GET`s that a server has answered, and that it has refused.
async fn gets(server: &Server) -> Result<(u64, u64)> {
    let stats = server.call(&["INFO", "commandstats"]).await?.text();
    let line = stats
        .lines()
        .find_map(|line| line.trim_end().strip_prefix("cmdstat_get:"));
    let Some(line) = line else { return Ok((0, 0)) };
    let field = |name: &str| -> Result<u64> {
        let mut fields = line.split(',');
        let value = fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        Ok(value.context("no such field")?.parse()?)
    };
    Ok((field("calls")?, field("rejected_calls")?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_without_its_primary_is_left_out_until_it_answers_again() -> Result<()> {
    let primary = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let options = ServerOptions::new(Version::Valkey8).replica_of(&primary);
    let replica = Server::start(options.line("replica-serve-stale-data no")).await?;
    let follows = async || {
        until(LIMIT, "the replica to follow", || async {
            Ok((replica.info("master_link_status").await? == "up").then_some(()))
        })
        .await
    };
    follows().await?;
    let client = ValkeyClient::connect(&with_replica(&primary, &replica)?).await?;
    client.set("key", "value".into(), Ttl::Forever).await?;
    until(LIMIT, "reads to go to the replica", || async {
        client.get("key").await?;
        Ok((gets(&replica).await?.0 > 0).then_some(()))
    })
    .await?;

    replica.call(&["REPLICAOF", "127.0.0.1", "1"]).await?;
    let (_, refused) = gets(&replica).await?;
    let reads = 3_000;
    for _ in 0..reads {
        assert_eq!(client.get("key").await?, "value");
    }
    let refused = gets(&replica).await?.1 - refused;
    println!("{refused} of {reads} reads met the replica");
    assert!((1..reads / 100).contains(&refused), "{refused}");

    let (host, port) = (primary.host().to_string(), primary.port().to_string());
    replica.call(&["REPLICAOF", &host, &port]).await?;
    follows().await?;
    let (before, _) = gets(&replica).await?;
    until(LIMIT, "reads to go to the replica again", || async {
        client.get("key").await?;
        Ok((gets(&replica).await?.0 > before).then_some(()))
    })
    .await
}
