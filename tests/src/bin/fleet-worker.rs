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
use cache_core::{CacheClient, CacheError, Invalidation, Ttl};
use cache_layers::read_through::{Coordination, ReadError, RefreshAhead};
use cache_layers::{Loaded, ReadThrough, ReadThroughConfig};
use cache_valkey::ValkeyClient;
use tests::Connection;
use tests::fleet::{Order, Origin, Report, Setup, ledger_key, monotonic_ns};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::Notify;
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> Result<()> {
    let setup = std::env::args().nth(1).context("the setup is missing")?;
    let setup: Arc<Setup> = Arc::new(serde_json::from_str(&setup)?);
    let client = connect(&setup).await?;
    let through = read_through(&setup, Arc::clone(&client))?;
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    // The first report says that it is ready.
    tell(&Report::default()).await?;
    while let Some(line) = orders.next_line().await? {
        let order: Arc<Order> = Arc::new(serde_json::from_str(&line)?);
        let report = if order.bare {
            hear(&setup, &client, &order).await?
        } else {
            carry_out(&setup, &through, &order).await?
        };
        tell(&report).await?;
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

#[cfg(feature = "dynamodb")]
async fn connect_to(table: &str) -> Result<Arc<dyn CacheClient>> {
    let aws = Box::pin(cache_aws::Aws::from_env()).await?;
    let client = cache_aws::dynamodb::DynamoClient::connect(&aws, table).await?;
    Ok(Arc::new(client))
}

#[cfg(not(feature = "dynamodb"))]
async fn connect_to(table: &str) -> Result<Arc<dyn CacheClient>> {
    anyhow::bail!("for the table {table} run the tests with --all-features")
}

async fn connect(setup: &Setup) -> Result<Arc<dyn CacheClient>> {
    if let Some(table) = &setup.table {
        return connect_to(table).await;
    }
    let addresses = setup.addresses.iter().map(|text| text.parse());
    let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
    let topology = if setup.cluster {
        Topology::cluster(addresses)
    } else {
        Topology::Single { addresses, db: 0 }
    };
    Ok(Arc::new(
        ValkeyClient::connect(&ValkeyConfig::new(topology)).await?,
    ))
}

fn read_through(setup: &Setup, client: Arc<dyn CacheClient>) -> Result<ReadThrough> {
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
    Ok(ReadThrough::new(client, config))
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

/// What the machine does by itself, without a read-through: the first process writes the key, each other one
/// hears of it and reads.
async fn hear(setup: &Setup, client: &Arc<dyn CacheClient>, order: &Order) -> Result<Report> {
    let asked_ns = monotonic_ns();
    let value = if setup.worker == 0 {
        tokio::time::sleep(Duration::from_millis(order.load)).await;
        let value = origin(setup)?;
        client
            .set(&order.key, value.clone().into(), Ttl::secs(60))
            .await?;
        value
    } else {
        let changed = Arc::new(Notify::new());
        let (notify, key) = (Arc::clone(&changed), order.key.clone());
        let source = client.invalidations().context("no reports of changes")?;
        let _subscription = source.subscribe(Arc::new(move |event: &Invalidation| match event {
            Invalidation::Keys(keys) if !keys.contains(&key) => {}
            _ => notify.notify_one(),
        }));
        loop {
            match client.get_entry(&order.key).await {
                Ok(entry) => break entry.value.into(),
                Err(CacheError::Miss) => changed.notified().await,
                Err(error) => return Err(error.into()),
            }
        }
    };
    let had_ns = monotonic_ns();
    Ok(Report {
        values: BTreeMap::from([(String::from_utf8(value)?, 1)]),
        asked_ns,
        first_ns: had_ns,
        last_ns: had_ns,
        ..Report::default()
    })
}

fn origin(setup: &Setup) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(&Origin {
        worker: setup.worker,
        done_ns: monotonic_ns(),
    })?)
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
    Ok(Loaded::new(origin(&setup).map_err(io::Error::other)?))
}
