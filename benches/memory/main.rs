//! The embedded client beside `moka` and `quick_cache`: `cargo bench -p benches --bench memory [-- --quick]`.
//!
//! Reads of one hot key, and a mix of one write to nineteen reads over a skewed choice of 100,000 keys of
//! which a tenth fits, from 1, 2 and 4 tasks. Ours goes through `Arc<dyn CacheClient>`, as services call
//! it; the others through their own synchronous API. So the ratio holds the price of the contract too.

use std::io::Write as _;
use std::sync::Arc;

use anyhow::Result;
use benches::{Options, Sample, Table, run};
use bytes::Bytes;
use cache_core::{CacheClient, MemoryCache, Ttl};

const TASKS: [usize; 3] = [1, 2, 4];
const KEYS: usize = 100_000;
const CAPACITY: usize = KEYS / 10;

/// Calls inside one measured step, so that reading the clock does not count for much.
const BATCH: usize = 200;

#[tokio::main]
async fn main() -> Result<()> {
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return Ok(());
    }
    let options = Options::from_arguments();
    let keys: Arc<Vec<String>> = Arc::new((0..KEYS).map(|number| format!("bench:key:{number:06}")).collect());
    let names = ["quick_cache", "cache-core", "moka"];
    for (mixed, title) in [(false, "hot key, get"), (true, "skewed mix, 5 % set")] {
        let mut table = Table::new(
            &format!("{title}; steps of {BATCH} calls, tasks:"),
            &TASKS,
            &names,
        );
        for _ in 0..options.rounds {
            for (column, &tasks) in TASKS.iter().enumerate() {
                table.add(0, column, quick_cache(&keys, mixed, tasks, options).await);
                table.add(1, column, ours(&keys, mixed, tasks, options).await);
                table.add(2, column, moka(&keys, mixed, tasks, options).await);
            }
        }
        writeln!(std::io::stdout().lock(), "{table}")?;
    }
    Ok(())
}

fn value() -> Bytes {
    Bytes::from_static(&[b'v'; 100])
}

/// The key of a step: the hot one, or a skewed choice (the square of a uniform one leans to the front).
fn choose(mixed: bool, random: &mut u64) -> usize {
    if !mixed {
        return 0;
    }
    // xorshift64: the choice must cost less than what is measured.
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    let uniform = usize::try_from(*random % 1_000_000).unwrap_or(0);
    uniform * uniform / 1_000_000 * KEYS / 1_000_000
}

fn seed(task: usize, number: usize) -> u64 {
    u64::try_from(task * 1_000_003 + number)
        .unwrap_or(0)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        | 1
}

async fn ours(keys: &Arc<Vec<String>>, mixed: bool, tasks: usize, options: Options) -> Sample {
    let cache: Arc<dyn CacheClient> =
        Arc::new(MemoryCache::new(1 << 30, u64::try_from(CAPACITY).unwrap_or(0)));
    let keys = Arc::clone(keys);
    run(tasks, options.slice, move |task, number| {
        let (cache, keys) = (Arc::clone(&cache), Arc::clone(&keys));
        async move {
            let mut random = seed(task, number);
            for step in 0..BATCH {
                let key = &keys[choose(mixed, &mut random)];
                if cache.get(key).await.is_err() || (mixed && step % 20 == 0) {
                    let _ = cache.set(key, value(), Ttl::Forever).await;
                }
            }
        }
    })
    .await
}

async fn quick_cache(keys: &Arc<Vec<String>>, mixed: bool, tasks: usize, options: Options) -> Sample {
    let cache = Arc::new(quick_cache::sync::Cache::<String, Bytes>::new(CAPACITY));
    let keys = Arc::clone(keys);
    run(tasks, options.slice, move |task, number| {
        let (cache, keys) = (Arc::clone(&cache), Arc::clone(&keys));
        async move {
            let mut random = seed(task, number);
            for step in 0..BATCH {
                let key = &keys[choose(mixed, &mut random)];
                if cache.get(key).is_none() || (mixed && step % 20 == 0) {
                    cache.insert(key.clone(), value());
                }
            }
        }
    })
    .await
}

async fn moka(keys: &Arc<Vec<String>>, mixed: bool, tasks: usize, options: Options) -> Sample {
    let cache = moka::sync::Cache::<String, Bytes>::new(u64::try_from(CAPACITY).unwrap_or(0));
    let keys = Arc::clone(keys);
    run(tasks, options.slice, move |task, number| {
        let (cache, keys) = (cache.clone(), Arc::clone(&keys));
        async move {
            let mut random = seed(task, number);
            for step in 0..BATCH {
                let key = &keys[choose(mixed, &mut random)];
                if cache.get(key).is_none() || (mixed && step % 20 == 0) {
                    cache.insert(key.clone(), value());
                }
            }
        }
    })
    .await
}
