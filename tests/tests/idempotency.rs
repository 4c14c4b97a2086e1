//! The idempotency recipe on real servers, single and cluster: scenario 100 where time is real and the clients
//! share nothing but the server. The same in virtual time is in `cache-layers/tests/idempotency`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use cache_core::config::{Topology, ValkeyConfig};
use cache_core::{CacheClient, Keyspace};
use cache_layers::idempotency::{Acquired, Fingerprint, IdempotencyConfigBuilder};
use cache_layers::{Idempotency, IdempotencyConfig};
use cache_valkey::ValkeyClient;
use tests::{Kind, Proxy, Server, ServerOptions, Version, shared, until};

const LIMIT: Duration = Duration::from_secs(20);
const CLIENTS: usize = 4;
const REQUESTS: usize = 100;
const ROUNDS: usize = 20;

/// A client of its own, as another process would have.
async fn connect(kind: Kind) -> Result<Arc<dyn CacheClient>> {
    let addresses = shared(kind).await?.addresses;
    let addresses = addresses
        .iter()
        .map(|text| text.parse())
        .collect::<Result<Vec<_>, _>>()?;
    let topology = match kind {
        Kind::Cluster => Topology::cluster(addresses),
        _ => Topology::Single { addresses, db: 0 },
    };
    Ok(Arc::new(
        ValkeyClient::connect(&ValkeyConfig::new(topology)).await?,
    ))
}

/// Keys that no other test of the run has.
fn keyspace() -> Result<Keyspace> {
    Ok(Keyspace::new(&format!(
        "idempotency-{:016x}",
        rand::random::<u64>()
    ))?)
}

fn over(
    client: Arc<dyn CacheClient>,
    keyspace: &Keyspace,
    change: impl FnOnce(IdempotencyConfigBuilder) -> IdempotencyConfigBuilder,
) -> Result<Idempotency> {
    let config = change(IdempotencyConfig::builder()).build()?;
    Ok(Idempotency::new(client, keyspace.clone(), config))
}

/// Claims that live half a second.
fn short(config: IdempotencyConfigBuilder) -> IdempotencyConfigBuilder {
    config
        .claim_life(Duration::from_millis(500))
        .cache_deadline(Duration::from_millis(150))
}

fn request() -> Fingerprint {
    Fingerprint::of(["POST", "/orders", "tea"])
}

async fn of_concurrent_first_requests_exactly_one_runs(kind: Kind) -> Result<()> {
    let keyspace = keyspace()?;
    let mut processes = Vec::new();
    for _ in 0..CLIENTS {
        processes.push(over(connect(kind).await?, &keyspace, |config| config)?);
    }
    for round in 0..ROUNDS {
        let runs = Arc::new(AtomicU32::new(0));
        let key = format!("order-{round}");
        let asking = (0..REQUESTS).map(|number| {
            let (process, runs, key) = (
                processes[number % CLIENTS].clone(),
                Arc::clone(&runs),
                key.clone(),
            );
            tokio::spawn(async move {
                // As a client does that retries until it has its response.
                loop {
                    match process.acquire("acme", &key, request()).await? {
                        Acquired::Run(claim) => {
                            let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
                            tokio::time::sleep(Duration::from_millis(5)).await;
                            claim.complete(format!("run {run} by {number}")).await?;
                        }
                        Acquired::Replay(response) => return anyhow::Ok(response),
                        Acquired::InProgress { .. } => tokio::time::sleep(Duration::from_millis(2)).await,
                        other => anyhow::bail!("{other:?}"),
                    }
                }
            })
        });
        let mut responses = Vec::new();
        for response in futures::future::join_all(asking).await {
            responses.push(response??);
        }
        assert_eq!(runs.load(Ordering::SeqCst), 1, "round {round}");
        assert_eq!(responses.len(), REQUESTS);
        assert!(responses[0].starts_with(b"run 1 by "));
        assert!(responses.iter().all(|response| *response == responses[0]));
        let other = Fingerprint::of(["POST", "/orders", "coffee"]);
        let mismatch = processes[0].acquire("acme", &key, other).await?;
        assert!(matches!(mismatch, Acquired::Mismatch), "{mismatch:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_first_requests_exactly_one_runs_on_a_single_server() -> Result<()> {
    of_concurrent_first_requests_exactly_one_runs(Kind::Single).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_first_requests_exactly_one_runs_on_a_cluster() -> Result<()> {
    of_concurrent_first_requests_exactly_one_runs(Kind::Cluster).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_run_keeps_its_claim_on_the_server() -> Result<()> {
    let keyspace = keyspace()?;
    let ours = over(connect(Kind::Single).await?, &keyspace, short)?;
    let theirs = over(connect(Kind::Single).await?, &keyspace, short)?;
    let Acquired::Run(claim) = ours.acquire("acme", "k", request()).await? else {
        anyhow::bail!("nobody has asked before");
    };
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let retry = theirs.acquire("acme", "k", request()).await?;
        ensure!(matches!(retry, Acquired::InProgress { .. }), "{retry:?}");
    }
    claim.complete("order 7").await?;
    let retry = theirs.acquire("acme", "k", request()).await?;
    ensure!(matches!(retry, Acquired::Replay(response) if response == "order 7"));
    Ok(())
}

#[test]
fn a_process_that_dies_keeps_its_key_no_longer_than_a_claim_lives() -> Result<()> {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
    };
    let (keyspace, survivor) = (keyspace()?, runtime()?);
    // The shared server belongs to who starts it, which must not be the one that dies.
    survivor.block_on(connect(Kind::Single))?;
    let dies = runtime()?;
    let claim = dies.block_on(async {
        let process = over(connect(Kind::Single).await?, &keyspace, short)?;
        match process.acquire("acme", "k", request()).await? {
            Acquired::Run(claim) => anyhow::Ok(claim),
            other => anyhow::bail!("{other:?}"),
        }
    })?;
    // With it go the supervisor and the connection; nothing is given back.
    dies.shutdown_timeout(Duration::from_secs(5));
    drop(claim);
    survivor.block_on(async {
        let process = over(connect(Kind::Single).await?, &keyspace, short)?;
        let first = process.acquire("acme", "k", request()).await?;
        ensure!(matches!(first, Acquired::InProgress { .. }), "{first:?}");
        until(LIMIT, "the claim to expire", async || {
            let acquired = process.acquire("acme", "k", request()).await?;
            Ok(matches!(acquired, Acquired::Run(_)).then_some(()))
        })
        .await
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_given_while_the_server_is_out_of_reach_is_stored_when_it_is_back() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let proxy = Proxy::start(server.address()).await?;
    let keyspace = keyspace()?;
    let through = |address: String| async move {
        let topology = Topology::Single {
            addresses: vec![address.parse()?],
            db: 0,
        };
        let client = ValkeyClient::connect(&ValkeyConfig::new(topology)).await?;
        anyhow::Ok(Arc::new(client) as Arc<dyn CacheClient>)
    };
    let ours = over(through(proxy.address()).await?, &keyspace, |config| config)?;
    let theirs = over(through(server.address()).await?, &keyspace, |config| config)?;
    let Acquired::Run(claim) = ours.acquire("acme", "k", request()).await? else {
        anyhow::bail!("nobody has asked before");
    };
    proxy.refuse().await;
    ensure!(claim.complete("order 7").await.is_err(), "stored out of reach");
    let retry = theirs.acquire("acme", "k", request()).await?;
    ensure!(matches!(retry, Acquired::InProgress { .. }), "{retry:?}");
    proxy.accept().await?;
    until(LIMIT, "the response to be stored", async || {
        let acquired = theirs.acquire("acme", "k", request()).await?;
        Ok(matches!(acquired, Acquired::Replay(response) if response == "order 7").then_some(()))
    })
    .await
}
