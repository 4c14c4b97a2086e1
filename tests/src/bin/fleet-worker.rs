//! A process of a fleet that loads through one cache: what the tests of `tests/fleet` start several of, stop
//! in the middle, and kill. Not for anything else; what is said to it and by it: [`tests::fleet`].
//!
//! It ends when its input does, and so with the test that started it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_core::config::{Topology, ValkeyConfig};
use cache_layers::read_through::{Coordination, ReadError, RefreshAhead};
use cache_layers::{Loaded, ReadThrough, ReadThroughConfig};
use cache_valkey::ValkeyClient;
use tests::Connection;
use tests::fleet::{Order, Origin, Report, Setup, ledger_key, monotonic_ns};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> Result<()> {
    let setup = std::env::args().nth(1).context("the setup is missing")?;
    let setup: Arc<Setup> = Arc::new(serde_json::from_str(&setup)?);
    let through = read_through(&setup).await?;
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    // The first report says that it is ready.
    tell(&Report::default()).await?;
    while let Some(line) = orders.next_line().await? {
        let order: Arc<Order> = Arc::new(serde_json::from_str(&line)?);
        tell(&carry_out(&setup, &through, &order).await?).await?;
    }
    Ok(())
}

async fn tell(report: &Report) -> Result<()> {
    let mut out = tokio::io::stdout();
    let line = serde_json::to_string(report)? + "\n";
    out.write_all(line.as_bytes()).await?;
    out.flush().await?;
    Ok(())
}

async fn read_through(setup: &Setup) -> Result<ReadThrough> {
    let addresses = setup.addresses.iter().map(|text| text.parse());
    let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
    let topology = if setup.cluster {
        Topology::cluster(addresses)
    } else {
        Topology::Single { addresses, db: 0 }
    };
    let client = ValkeyClient::connect(&ValkeyConfig::new(topology)).await?;
    let config = ReadThroughConfig::builder()
        .coordination(Coordination::Fleet {
            lease: Duration::from_millis(setup.lease),
        })
        .failure_hold(Duration::from_millis(setup.failure_hold))
        .cache_deadline(Duration::from_millis(setup.cache_deadline))
        .life(Duration::from_millis(setup.life))
        .stale_limit(Duration::from_millis(setup.stale_limit))
        .jitter(0.0)
        .refresh_ahead(RefreshAhead::Never)
        .build()?;
    Ok(ReadThrough::new(Arc::new(client), config))
}

async fn carry_out(setup: &Arc<Setup>, through: &ReadThrough, order: &Arc<Order>) -> Result<Report> {
    let asked_ns = monotonic_ns();
    let mut tasks = JoinSet::new();
    for _ in 0..order.tasks {
        let (setup, through, order) = (Arc::clone(setup), through.clone(), Arc::clone(order));
        tasks.spawn(async move {
            let loader = Arc::clone(&order);
            let answer = through.get_or_load(&order.key, move || load(setup, loader)).await;
            (answer, monotonic_ns())
        });
    }
    let (mut values, mut errors) = (BTreeMap::new(), BTreeMap::new());
    let (mut first_ns, mut last_ns, mut stale) = (u64::MAX, 0, 0);
    for (answer, at) in tasks.join_all().await {
        (first_ns, last_ns) = (first_ns.min(at), last_ns.max(at));
        match answer {
            Ok(answer) => {
                stale += usize::from(answer.is_stale());
                let value = String::from_utf8(answer.value.unwrap_or_default().into())?;
                *values.entry(value).or_default() += 1;
            }
            Err(error) => *errors.entry(kind(&error)).or_default() += 1,
        }
    }
    through.settled().await;
    let stats = through.stats();
    Ok(Report {
        values,
        stale,
        errors,
        asked_ns,
        first_ns,
        last_ns,
        loads: stats.loads,
        lease_waits: stats.lease_waits,
        without_lease: stats.without_lease,
        superseded: stats.superseded,
    })
}

/// `Load`, `HeldBack`, `Timeout`: the name of the variant.
fn kind(error: &ReadError) -> String {
    let text = format!("{error:?}");
    let end = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
    text[..end].to_owned()
}

async fn load(setup: Arc<Setup>, order: Arc<Order>) -> Result<Loaded, io::Error> {
    let counted = async {
        let mut ledger = Connection::open(&setup.ledger).await?;
        ledger.call(&["INCR", &ledger_key(&order.key)]).await
    };
    counted.await.map_err(io::Error::other)?;
    tokio::time::sleep(Duration::from_millis(order.load)).await;
    if order.fails {
        return Err(io::Error::other("the upstream is down"));
    }
    let origin = Origin {
        worker: setup.worker,
        done_ns: monotonic_ns(),
    };
    Ok(Loaded::new(serde_json::to_vec(&origin)?))
}
