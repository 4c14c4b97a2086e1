//! The data path beside what else there is: `cargo bench -p benches --bench data_path [-- --quick]`.
//!
//! One Valkey server and a cluster of three primaries on loopback, values of 100 bytes, 10,000 keys. Ours
//! is called as services call it, through `Arc<dyn CacheClient>`; the others by their own API, without.

mod contender;
mod sequence;

use std::io::Write as _;
use std::sync::Arc;

use anyhow::Result;
use benches::{Goal, Options, Sample, Table, run};
use cache_core::config::{Address, Topology, ValkeyConfig};
use cache_valkey::ValkeyClient;
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version};

use contender::{Checkout, Contender, Fred, Ours, Redis, RedisCluster};

const TASKS: [usize; 5] = [1, 16, 64, 256, 1024];
const KEYS: usize = 10_000;
const VALUE: [u8; 100] = [b'v'; 100];

#[tokio::main]
async fn main() -> Result<()> {
    // Test runners call benchmarks with `--test` or `--list` to see that they exist.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return Ok(());
    }
    let options = Options::from_arguments();
    let mut goals = Vec::new();
    single(options, &mut goals).await?;
    cluster(options, &mut goals).await?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "goals (medians of {} rounds of {:?})",
        options.rounds, options.slice
    )?;
    for goal in goals {
        writeln!(out, "{goal}")?;
    }
    Ok(())
}

async fn single(options: Options, goals: &mut Vec<Goal>) -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let address = address(&server.address())?;
    let ours = ours(Topology::Single {
        addresses: vec![address.clone()],
        db: 0,
    })
    .await?;
    fill(&ours).await;
    let redis = Redis::connect(&address).await?;
    let fred = Fred::single(&address).await?;
    let checkout = Checkout::connect(&address)?;
    let names = [
        "redis, one multiplexed connection",
        "cache-valkey",
        "fred",
        "deadpool, a checkout per call",
    ];
    for (write, title) in [(false, "single, GET"), (true, "single, SET")] {
        let mut table = Table::new(&format!("{title}; tasks:"), &TASKS, &names);
        for _ in 0..options.rounds {
            for (column, &tasks) in TASKS.iter().enumerate() {
                table.add(0, column, measure(&redis, write, tasks, options).await);
                table.add(1, column, measure(&ours, write, tasks, options).await);
                table.add(2, column, measure(&fred, write, tasks, options).await);
                table.add(3, column, measure(&checkout, write, tasks, options).await);
            }
        }
        print(&table)?;
        for (column, tasks) in [(2, 64), (3, 256)] {
            goals.push(at_least(
                format!("{title} at {tasks} tasks, to one multiplexed connection"),
                table.ratio(1, 0, column),
                0.95,
            ));
        }
    }
    let ratio = sequence::many_against_one_by_one(&ours, options).await;
    goals.push(at_least(
        "single, get_many of 100 keys against 100 gets in a row".to_owned(),
        ratio,
        15.0,
    ));
    Ok(())
}

async fn cluster(options: Options, goals: &mut Vec<Goal>) -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let address = address(&cluster.addresses()[0])?;
    let ours = ours(Topology::Cluster {
        seeds: vec![address.clone()],
    })
    .await?;
    fill(&ours).await;
    let redis = RedisCluster::connect(&address).await?;
    let fred = Fred::cluster(&address).await?;
    let names = ["redis, ClusterConnection", "cache-valkey", "fred"];
    for (write, title) in [(false, "cluster, GET"), (true, "cluster, SET")] {
        let mut table = Table::new(&format!("{title}; tasks:"), &TASKS, &names);
        for _ in 0..options.rounds {
            for (column, &tasks) in TASKS.iter().enumerate() {
                table.add(0, column, measure(&redis, write, tasks, options).await);
                table.add(1, column, measure(&ours, write, tasks, options).await);
                table.add(2, column, measure(&fred, write, tasks, options).await);
            }
        }
        print(&table)?;
        goals.push(at_least(
            format!("{title} at 64 tasks, to ClusterConnection"),
            table.ratio(1, 0, 2),
            2.0,
        ));
        goals.push(Goal {
            what: format!("{title} at 1024 tasks, p99 to ClusterConnection's"),
            measured: table.ratio_of_p99(1, 0, 4),
            bound: 0.2,
            at_least: false,
        });
    }
    let ratio = sequence::many_against_one_by_one(&ours, options).await;
    goals.push(at_least(
        "cluster, get_many of 100 keys against 100 gets in a row".to_owned(),
        ratio,
        10.0,
    ));
    Ok(())
}

async fn measure<C: Contender>(contender: &Arc<C>, write: bool, tasks: usize, options: Options) -> Sample {
    let contender = Arc::clone(contender);
    run(tasks, options.slice, move |task, number| {
        let contender = Arc::clone(&contender);
        async move {
            let key = key(task.wrapping_mul(7_919).wrapping_add(number));
            if write {
                contender.set(&key).await;
            } else {
                assert_eq!(contender.get(&key).await, VALUE.len());
            }
        }
    })
    .await
}

fn key(number: usize) -> String {
    format!("bench:{}", number % KEYS)
}

async fn ours(topology: Topology) -> Result<Arc<Ours>> {
    Ok(Arc::new(Ours(Arc::new(
        ValkeyClient::connect(&ValkeyConfig::new(topology)).await?,
    ))))
}

async fn fill(ours: &Ours) {
    for number in 0..KEYS {
        ours.set(&key(number)).await;
    }
}

fn address(text: &str) -> Result<Address> {
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| anyhow::anyhow!("{text} is no host:port"))?;
    Ok(Address::new(host, port.parse()?))
}

fn at_least(what: String, measured: f64, bound: f64) -> Goal {
    Goal {
        what,
        measured,
        bound,
        at_least: true,
    }
}

fn print(table: &Table) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{table}")?)
}
