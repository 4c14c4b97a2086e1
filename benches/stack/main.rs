//! What the layers cost and save: `cargo bench -p benches --bench stack [-- --quick]`.
//!
//! One Valkey server on loopback, values of 100 bytes, metrics on (a provider of the SDK with a reader that
//! is asked at the end). The stack is the one that `cache_stack::assemble` makes, called as services call it,
//! through `Arc<dyn CacheClient>`. A far get has to be one on purpose: the near tier there has room for one
//! entry, so each read passes every layer, is tracked by the server, and is answered by it. Beside it stands
//! what such a read costs through the wire crate alone, each as a pipeline of its own.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use benches::{Goal, Options, Sample, Table, run};
use bytes::Bytes;
use cache_core::config::{NearConfig, Topology, ValkeyConfig};
use cache_core::{CacheClient, CacheConfig, Ttl};
use tests::{Server, ServerOptions, Version};

const KEYS: usize = 10_000;

/// Near hits inside one measured step, so that reading the clock does not count for much.
const BATCH: usize = 200;

/// Keys that are read near.
const NEAR_KEYS: usize = 100;

#[tokio::main]
async fn main() -> Result<()> {
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return Ok(());
    }
    let options = Options::from_arguments();
    let metrics = opentelemetry_sdk::metrics::SdkMeterProvider::builder()
        .with_reader(opentelemetry_sdk::metrics::ManualReader::builder().build())
        .build();
    opentelemetry::global::set_meter_provider(metrics.clone());

    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let topology = Topology::single(server.address().parse()?);
    let config = || CacheConfig::builder().valkey(ValkeyConfig::new(topology.clone()));
    let roomy = NearConfig::new(64 << 20, Duration::from_secs(600));
    let no_room = roomy.clone().with_max_entries(1);
    let bare = cache_stack::assemble(&config().build()?)
        .await?
        .foundation
        .client();
    let without_near = cache_stack::connect(&config().build()?).await?;
    let all_cold = cache_stack::connect(&config().near(no_room).build()?).await?;
    let near = cache_stack::connect(&config().near(roomy.clone()).build()?).await?;
    let prefixed = cache_stack::connect(&config().near(roomy).key_prefix("service:").build()?).await?;
    for number in 0..KEYS {
        let (value, ttl) = (Bytes::from(vec![b'v'; 100]), Ttl::secs(3_600));
        bare.set(&key(number), value.clone(), ttl).await?;
        if number < NEAR_KEYS {
            prefixed.set(&key(number), value, ttl).await?;
        }
    }

    let names = [
        "the bare client, get",
        "the stack without a near tier",
        "the stack, each get cold",
        "the wire crate: CACHING, GET, PTTL",
    ];
    let tracked = tracked_connection(&server.address()).await?;
    let tasks = [1, 16, 64, 256];
    let mut far = Table::new("far get; tasks:", &tasks, &names);
    let clients = [&bare, &without_near, &all_cold];
    for round in 0..options.rounds {
        for (column, &tasks) in tasks.iter().enumerate() {
            for turn in 0..names.len() {
                let row = (round + column + turn) % names.len();
                let sample = match clients.get(row) {
                    Some(client) => gets(client, tasks, options).await,
                    None => tracked_gets(&tracked, tasks, options).await,
                };
                far.add(row, column, sample);
            }
        }
    }
    let mut hits = Table::new(
        &format!("near hit, steps of {BATCH}, to far gets in steps of 1; tasks:"),
        &[1],
        &[
            "the bare client, get",
            "the stack, each get near",
            "the stack with a key prefix, each get near",
        ],
    );
    for _ in 0..options.rounds {
        hits.add(0, 0, gets(&bare, 1, options).await);
        hits.add(1, 0, near_hits(&near, options).await);
        hits.add(2, 0, near_hits(&prefixed, options).await);
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{far}\n{hits}")?;
    let goal = |what: &str, measured, bound| Goal {
        what: what.to_owned(),
        measured,
        bound,
        at_least: true,
    };
    let nanoseconds = |what: &str, row| Goal {
        what: format!("nanoseconds of a near hit of {what}, one task"),
        measured: hits.p50(row, 0) * 1_000.0 / per_step(),
        bound: 150.0,
        at_least: false,
    };
    writeln!(
        out,
        "goals (medians of {} rounds of {:?})",
        options.rounds, options.slice
    )?;
    for goal in [
        goal(
            "far get through the stack without a near tier at 64 tasks, to the bare client",
            far.ratio(1, 0, 2),
            0.95,
        ),
        goal(
            "far get through the whole stack at 64 tasks, to the bare client",
            far.ratio(2, 0, 2),
            0.85,
        ),
        goal(
            "near hits of one task to its far gets",
            hits.ratio(1, 0, 0) * per_step(),
            60.0,
        ),
        nanoseconds("the whole stack", 1),
        nanoseconds("the whole stack with a key prefix", 2),
    ] {
        writeln!(out, "{goal}")?;
    }
    drop(out);
    metrics.shutdown()?;
    Ok(())
}

fn per_step() -> f64 {
    f64::from(u16::try_from(BATCH).unwrap_or(u16::MAX))
}

async fn gets(client: &Arc<dyn CacheClient>, tasks: usize, options: Options) -> Sample {
    let client = Arc::clone(client);
    run(tasks, options.slice, move |task, number| {
        let client = Arc::clone(&client);
        async move {
            let key = key(task.wrapping_mul(7_919).wrapping_add(number));
            assert!(client.get(&key).await.is_ok());
        }
    })
    .await
}

/// A connection of the wire crate that tracks by opt-in.
async fn tracked_connection(address: &str) -> Result<redis::aio::MultiplexedConnection> {
    let client = redis::Client::open(format!("redis://{address}/?protocol=resp3"))?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut request = redis::cmd("CLIENT");
    let (): () = request
        .arg("TRACKING")
        .arg("ON")
        .arg("OPTIN")
        .query_async(&mut connection)
        .await?;
    Ok(connection)
}

/// What a cold get asks of the server, sent by the wire crate with nothing round it.
async fn tracked_gets(
    connection: &redis::aio::MultiplexedConnection,
    tasks: usize,
    options: Options,
) -> Sample {
    let connection = connection.clone();
    run(tasks, options.slice, move |task, number| {
        let mut connection = connection.clone();
        async move {
            let key = key(task.wrapping_mul(7_919).wrapping_add(number));
            let mut pipeline = redis::pipe();
            pipeline.cmd("CLIENT").arg("CACHING").arg("YES");
            pipeline.cmd("GET").arg(&key).cmd("PTTL").arg(&key);
            let replies: redis::RedisResult<redis::Value> = pipeline.query_async(&mut connection).await;
            assert!(replies.is_ok());
        }
    })
    .await
}

async fn near_hits(client: &Arc<dyn CacheClient>, options: Options) -> Sample {
    let client = Arc::clone(client);
    let keys: Arc<Vec<String>> = Arc::new((0..NEAR_KEYS).map(key).collect());
    run(1, options.slice, move |_, _| {
        let (client, keys) = (Arc::clone(&client), Arc::clone(&keys));
        async move {
            for step in 0..BATCH {
                assert!(client.get(&keys[step % keys.len()]).await.is_ok());
            }
        }
    })
    .await
}

fn key(number: usize) -> String {
    format!("bench:{}", number % KEYS)
}
