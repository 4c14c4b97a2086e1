//! Pages of keys over real servers that do not stand still. What becomes of each key in every order of events is
//! tried out on simulated servers, in `cache-admin`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use cache_admin::paging::{PageRequest, Position};
use cache_admin::{Engine, KeyAttributes, ValkeyKeys};
use cache_core::config::{Topology, ValkeyConfig};
use cache_core::slot::slot_of;
use cache_core::{CacheClient as _, Pattern, Ttl};
use cache_valkey::ValkeyClient;
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version, until};

/// How long a test waits for something that must happen.
const LIMIT: Duration = Duration::from_secs(30);

/// Keys all over the cluster.
const SPREAD: usize = 2_000;

/// Slots that move while they are listed, and the keys in each.
const MOVERS: [&str; 3] = ["mover-1", "mover-2", "mover-3"];
const IN_EACH: usize = 150;

async fn connect(addresses: &[String], clustered: bool) -> Result<(Arc<ValkeyClient>, Engine)> {
    let seeds = addresses
        .iter()
        .map(|address| address.parse())
        .collect::<Result<Vec<_>, _>>()?;
    let topology = if clustered {
        Topology::cluster(seeds)
    } else {
        Topology::single(seeds.into_iter().next().context("no address")?)
    };
    let client = ValkeyClient::connect(&ValkeyConfig::new(topology)).await?;
    let engine = Engine::new(ValkeyKeys::new(&client));
    Ok((Arc::new(client), engine))
}

/// Stores the keys that have to be listed, and as many that do not match.
async fn fill(client: &ValkeyClient) -> Result<BTreeSet<Bytes>> {
    let spread = (0..SPREAD).map(|number| format!("k:{number}"));
    let moving = MOVERS
        .iter()
        .flat_map(|tag| (0..IN_EACH).map(move |number| format!("k:{{{tag}}}:{number}")));
    let keys: Vec<String> = spread.chain(moving).collect();
    for keys in keys.chunks(500) {
        let others: Vec<String> = keys.iter().map(|key| format!("other:{key}")).collect();
        let all = keys.iter().chain(&others);
        let entries: Vec<_> = all
            .map(|key| (key.as_str(), Bytes::from_static(b"value")))
            .collect();
        client.set_many(&entries, Ttl::Forever).await?;
    }
    Ok(keys.into_iter().map(Bytes::from).collect())
}

fn request(limit: usize) -> Result<PageRequest> {
    Ok(PageRequest::new(Pattern::new("k:*")?).with_limit(limit))
}

/// The next page, however long the servers need to come to themselves.
async fn page(engine: &Engine, request: &PageRequest) -> Result<cache_admin::paging::Page> {
    until(LIMIT, "a page", || async {
        Ok(Some(engine.page(request).await?))
    })
    .await
}

/// Lists from one page to the next until there is none, with something done before each.
async fn list(
    engine: &Engine,
    mut request: PageRequest,
    mut between: impl AsyncFnMut(usize) -> Result<()>,
) -> Result<BTreeSet<Bytes>> {
    let mut listed = BTreeSet::new();
    for number in 0..10_000 {
        between(number).await?;
        let page = page(engine, &request).await?;
        ensure!(!page.is_partial && page.gaps.is_empty(), "slots were passed over");
        listed.extend(page.keys.into_iter().map(|listed| listed.key));
        let Some(next) = page.next else {
            return Ok(listed);
        };
        let bytes = next.to_bytes();
        ensure!(bytes.len() <= Position::MAX_LEN, "{} bytes", bytes.len());
        request = request.at(Position::from_bytes(&bytes)?);
    }
    anyhow::bail!("there is no end of pages")
}

async fn other_primary(cluster: &Cluster, from: usize) -> Result<usize> {
    for slot in [0, 5_461, 10_923] {
        let owner = cluster.primary_of(slot).await?;
        if owner != from {
            return Ok(owner);
        }
    }
    anyhow::bail!("there is one primary only")
}

#[derive(Clone, Copy)]
enum Moves {
    KeyByKey,
    AtOnce,
}

/// What happens before the page of that number: slots that are half handed over while they are listed, slots that
/// change their owner at once, a failover.
async fn trouble(cluster: &Cluster, number: usize, moves: Moves) -> Result<()> {
    match (number, moves) {
        (2 | 5 | 8, Moves::AtOnce) => {
            let slot = slot_of(MOVERS[number / 3].as_bytes());
            let from = cluster.primary_of(slot).await?;
            let to = other_primary(cluster, from).await?;
            cluster.move_slots_atomically(slot, slot, from, to).await
        }
        (2, Moves::KeyByKey) => {
            for tag in MOVERS {
                let slot = slot_of(tag.as_bytes());
                let from = cluster.primary_of(slot).await?;
                let to = other_primary(cluster, from).await?;
                cluster.begin_move(slot, from, to).await?;
                // As many others are in the slot.
                cluster.migrate_keys(slot, from, to, IN_EACH).await?;
            }
            Ok(())
        }
        // The first is on the move until the very end.
        (6 | 9, Moves::KeyByKey) => {
            let slot = slot_of(MOVERS[number / 3 - 1].as_bytes());
            let from = cluster.primary_of(slot).await?;
            let to = other_primary(cluster, from).await?;
            while cluster.migrate_keys(slot, from, to, IN_EACH).await? > 0 {}
            cluster.end_move(slot, from, to).await
        }
        (12, _) => {
            // One that has no part in the handover that is still under way: a replica knows nothing of it.
            let from = cluster.primary_of(slot_of(MOVERS[0].as_bytes())).await?;
            let to = other_primary(cluster, from).await?;
            let mut primary = from;
            for slot in [0, 5_461, 10_923] {
                let owner = cluster.primary_of(slot).await?;
                if owner != from && owner != to {
                    primary = owner;
                }
            }
            let replicas = cluster.replicas_of(primary).await?;
            cluster.failover(*replicas.first().context("a replica")?).await
        }
        _ => Ok(()),
    }
}

async fn hurt(version: Version, moves: Moves) -> Result<()> {
    let node = ServerOptions::new(version);
    let cluster = Cluster::start(ClusterOptions::new(3, 1).node(node)).await?;
    let (client, engine) = connect(&cluster.addresses(), true).await?;
    let keys = fill(&client).await?;

    let quiet = list(&engine, request(100)?, async |_| Ok(())).await?;
    ensure!(quiet == keys, "at rest {} keys of {}", quiet.len(), keys.len());

    let mut pages = 0;
    let listed = list(&engine, request(60)?, async |number| {
        pages = number;
        trouble(&cluster, number, moves).await
    })
    .await?;
    ensure!(pages > 20, "all of it was to happen in between {pages} pages");
    let missed: Vec<&Bytes> = keys.difference(&listed).collect();
    ensure!(missed.is_empty(), "missed {missed:?}");
    ensure!(listed.len() == keys.len(), "keys that do not match");
    Ok(())
}

#[tokio::test]
async fn each_key_is_listed_on_valkey_8_while_slots_move_key_by_key_and_a_primary_is_replaced() -> Result<()>
{
    hurt(Version::Valkey8, Moves::KeyByKey).await
}

#[tokio::test]
async fn each_key_is_listed_on_valkey_9_while_slots_move_key_by_key_and_a_primary_is_replaced() -> Result<()>
{
    hurt(Version::Valkey9, Moves::KeyByKey).await
}

#[tokio::test]
async fn each_key_is_listed_on_valkey_9_while_slots_move_at_once_and_a_primary_is_replaced() -> Result<()> {
    hurt(Version::Valkey9, Moves::AtOnce).await
}

/// Its servers walk in an order of their own.
#[tokio::test]
async fn each_key_is_listed_on_redis_7_while_slots_move_key_by_key_and_a_primary_is_replaced() -> Result<()> {
    hurt(Version::Redis7, Moves::KeyByKey).await
}

/// A cursor means nothing to a server that is started anew, although nothing but its run differs.
#[tokio::test]
async fn a_server_that_was_started_anew_in_between_is_listed_from_its_start() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let (client, engine) = connect(&[server.address()], false).await?;
    let keys = fill(&client).await?;
    let mut pages = Vec::new();
    let listed = list(&engine, request(200)?, async |number| {
        pages.push(number);
        if number == 6 {
            server.call(&["SAVE"]).await?;
            server.restart().await?;
        }
        Ok(())
    })
    .await?;
    ensure!(listed == keys, "{} keys of {}", listed.len(), keys.len());
    let least = 6 + keys.len() / 200;
    ensure!(
        pages.len() >= least,
        "{} pages, so it went on where it was",
        pages.len()
    );
    Ok(())
}

#[tokio::test]
async fn a_page_tells_of_each_key_what_is_asked_for() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let (client, engine) = connect(&[server.address()], false).await?;
    client.set("k:short", "1".into(), Ttl::secs(500)).await?;
    client.set("k:long", "1".into(), Ttl::Forever).await?;
    let traits = KeyAttributes {
        kind: true,
        ttl: true,
        size: true,
        idle: false,
    };
    let page = engine.page(&request(10)?.with_traits(traits)).await?;
    ensure!(page.next.is_none() && page.keys.len() == 2, "{page:?}");
    for listed in page.keys {
        let said = listed.description;
        ensure!(said.kind.is_some_and(|kind| kind.name() == "string"), "{said:?}");
        ensure!(
            (said.ttl == Some(Ttl::Forever)) == (listed.key == "k:long"),
            "{said:?}"
        );
        ensure!(said.size.is_some_and(|size| size > 10), "{said:?}");
    }
    Ok(())
}

/// What needs one server only asks one, and a whole keyspace that does not match costs a bounded part of it a page.
#[tokio::test]
async fn a_page_costs_no_more_than_it_may() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let (client, engine) = connect(&cluster.addresses(), true).await?;
    fill(&client).await?;
    let nothing = PageRequest::new(Pattern::new("nothing:*")?).with_work(1_000, Duration::from_secs(10));
    let mut request = nothing;
    let mut pages = 0;
    loop {
        let page = page(&engine, &request).await?;
        ensure!(page.keys.is_empty(), "there is nothing to find");
        // A step more, and the slots that it walked through.
        ensure!(page.looked_at <= 8_000, "{} keys were looked at", page.looked_at);
        pages += 1;
        let Some(next) = page.next else { break };
        ensure!(next.to_bytes().len() < 60, "{next:?}");
        request = request.at(next);
    }
    ensure!(pages > 3, "{pages} pages");
    Ok(())
}
