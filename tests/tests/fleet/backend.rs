//! Scenarios 49, 52 and 53: the server that has the lease is down, silent, or its answer is lost.

use std::time::Duration;

use anyhow::Result;
use tests::fleet::Setup;
use tests::{Connection, Kind, Proxy, Server, ServerOptions, Version, shared, until};

use crate::lateness::Lateness;
use crate::worker::{self, LIMIT, Worker, ask, key, loads, only_value, setup, until_loading};

/// A process whose way to a shared server can be broken, and one beside it.
struct Pair {
    server: String,
    proxy: Proxy,
    behind: Worker,
    beside: Worker,
}

impl Pair {
    async fn start(change: impl FnOnce(&mut Setup)) -> Result<Self> {
        let server = shared(Kind::Single).await?.addresses.remove(0);
        let proxy = Proxy::start(&*server).await?;
        let mut setup = setup(vec![server.clone()], false).await?;
        change(&mut setup);
        let behind = Setup {
            addresses: vec![proxy.address()],
            ..setup.clone()
        };
        Ok(Self {
            behind: Worker::start(&behind).await?,
            beside: Worker::start(&Setup { worker: 1, ..setup }).await?,
            server,
            proxy,
        })
    }
}

#[tokio::test]
async fn with_the_leases_server_down_every_process_loads_and_answers_without_it() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let setup = setup(vec![server.address()], false).await?;
    let mut fleet = Worker::fleet::<3>(&setup).await?;
    server.kill()?;
    let key = key();
    let lateness = Lateness::measure()?;
    for worker in &mut fleet {
        let report = worker.ask(&ask(&key, 50, 100)).await?;
        only_value([&report])?;
        assert_eq!((report.loads, report.without_lease), (1, 1), "{report:?}");
        // A server that is known to be down costs nothing; to find out costs one failed call.
        let took = Duration::from_nanos(report.last_ns - report.asked_ns);
        let limit = Duration::from_millis(setup.cache_deadline + 100) + lateness.slack();
        assert!(took <= limit, "{took:?} of {limit:?}");
    }
    assert_eq!(loads(&key).await?, 3, "one each");
    Ok(())
}

#[tokio::test]
async fn a_silent_server_costs_a_call_no_more_than_the_caches_deadline() -> Result<()> {
    const DEADLINE: u64 = 300;
    let mut pair = Pair::start(|setup| setup.cache_deadline = DEADLINE).await?;
    // The connection is warm, and then nothing comes back.
    pair.behind.ask(&ask(&key(), 1, 0)).await?;
    pair.proxy.pause();
    let lateness = Lateness::measure()?;
    let key = key();
    let report = pair.behind.ask(&ask(&key, 50, 100)).await?;
    only_value([&report])?;
    let took = Duration::from_nanos(report.last_ns - report.asked_ns);
    println!("answered after {took:?}; the cache's deadline is {DEADLINE} ms, the load takes 100");
    let limit = Duration::from_millis(DEADLINE + 100) + lateness.slack();
    assert!(took <= limit, "{took:?} of {limit:?}");
    assert_eq!(loads(&key).await?, 1);
    Ok(())
}

/// The owner of the lease of `key`, as the server has it.
async fn owner(server: &mut Connection, key: &str) -> Result<Option<String>> {
    let text = server.call(&["GET", &format!("{key}:#lease")]).await?.text();
    Ok((!text.is_empty()).then_some(text))
}

#[tokio::test]
async fn a_lease_whose_reply_is_lost_is_found_to_be_ours_by_asking_whose_it_is() -> Result<()> {
    let mut pair = Pair::start(|setup| {
        setup.cache_deadline = 10_000;
        setup.lease = 20_000;
    })
    .await?;
    let mut server = Connection::open(&pair.server).await?;
    let key = key();
    pair.behind.ask(&ask(&worker::key(), 1, 0)).await?;
    // Each reply is on its way for so long that there is time to lose it.
    pair.proxy.delay(Duration::from_millis(300));
    pair.behind.order(&ask(&key, 50, 500)).await?;
    let taken = until(LIMIT, "the lease to be taken", async || {
        let mut server = Connection::open(&pair.server).await?;
        owner(&mut server, &key).await
    })
    .await?;
    assert!(pair.proxy.cut() > 0, "a connection with the reply on its way");
    pair.proxy.delay(Duration::ZERO);
    // It goes on under the very lease that it took, and the other one waits for it.
    until_loading(&key).await?;
    assert_eq!(owner(&mut server, &key).await?, Some(taken));
    let beside = pair.beside.ask(&ask(&key, 50, 0)).await?;
    let behind = pair.behind.report().await?;
    assert_eq!(only_value([&behind, &beside])?.worker, 0);
    assert_eq!(
        (behind.without_lease, beside.loads),
        (0, 0),
        "{behind:?} {beside:?}"
    );
    assert_eq!(loads(&key).await?, 1);
    assert_eq!(owner(&mut server, &key).await?, None, "it was given back");
    Ok(())
}

#[tokio::test]
async fn a_lease_that_went_to_somebody_else_is_not_given_back_by_who_had_it() -> Result<()> {
    let mut pair = Pair::start(|_| {}).await?;
    let mut server = Connection::open(&pair.server).await?;
    let key = key();
    pair.behind.order(&ask(&key, 1, 800)).await?;
    until_loading(&key).await?;
    let lease = format!("{key}:#lease");
    server
        .call(&["SET", &lease, "1 loading of somebody else", "PX", "60000"])
        .await?;
    let report = pair.behind.report().await?;
    assert_eq!(only_value([&report])?.worker, 0, "its callers are served");
    assert_eq!(
        owner(&mut server, &key).await?.as_deref(),
        Some("1 loading of somebody else")
    );
    server.call(&["DEL", &lease]).await?;
    // Whoever it was has not begun to load: the value is there for them.
    assert_eq!(only_value([&pair.beside.ask(&ask(&key, 1, 0)).await?])?.worker, 0);
    assert_eq!(loads(&key).await?, 1);
    Ok(())
}
