//! What a hit costs.

use std::io::Write as _;
use std::sync::Arc;

use anyhow::Result;
use benches::{Goal, Options, Sample, Table, median, run};
use cache_core::{CacheClient, MemoryCache, Ttl, clock};
use cache_layers::{NearConfig, Tiered};

use crate::endless::Endless;
use crate::{Kept, kept};

const TASKS: [usize; 2] = [1, 2];
const KEYS: usize = 10_000;

/// How many of the keys are read: a few that stay in the processor's cache, and all.
const READ: [usize; 2] = [64, KEYS];

/// Hits inside one measured step: so its time in microseconds is that of a hit in nanoseconds.
const BATCH: usize = 1_000;

const NAMES: [&str; 6] = [
    "quick_cache",
    "moka",
    "foyer-memory",
    "Tiered, through dyn",
    "MemoryCache, through dyn",
    "the clock alone",
];
const TIERED: usize = 3;

/// Prints the table.
pub(crate) async fn compare(options: Options) -> Result<Vec<Goal>> {
    let keys: Vec<String> = (0..KEYS).map(|number| format!("bench:key:{number:06}")).collect();
    let quick_cache = quick_cache_of(&keys);
    let moka = moka_of(&keys);
    let foyer = foyer_of(&keys);
    let tiered = tiered_of(&keys).await?;
    let memory = memory_of(&keys).await?;
    let mut goals = Vec::new();
    for read in READ {
        let title = format!("times of {BATCH} hits, {read} of {KEYS} entries read; tasks:");
        let (mut table, mut hit) = (Table::new(&title, &TASKS, &NAMES), vec![Vec::new(); TASKS.len()]);
        let keys: Arc<[String]> = keys[..read].into();
        for _ in 0..options.rounds {
            for (column, &tasks) in TASKS.iter().enumerate() {
                let engine = Arc::clone(&quick_cache);
                let get = move |key: &str| engine.get(key).is_some();
                table.add(0, column, sync(&keys, tasks, options, get).await);
                let engine = moka.clone();
                let get = move |key: &str| engine.get(key).is_some();
                table.add(1, column, sync(&keys, tasks, options, get).await);
                let engine = foyer.clone();
                // As the others: the value in the caller's hand.
                let get = move |key: &str| engine.get(key).map(|entry| entry.value().clone()).is_some();
                table.add(2, column, sync(&keys, tasks, options, get).await);
                let sample = through(&keys, tasks, options, &tiered).await;
                hit[column].push(sample.p50);
                table.add(TIERED, column, sample);
                table.add(4, column, through(&keys, tasks, options, &memory).await);
                let start = clock::now();
                let get = move |_: &str| clock::now() >= start;
                table.add(5, column, sync(&keys, tasks, options, get).await);
            }
        }
        writeln!(std::io::stdout().lock(), "{table}")?;
        if read == READ[0] {
            goals.extend(TASKS.iter().zip(hit).map(|(tasks, hit)| Goal {
                what: format!("nanoseconds of a near hit through dyn, {read} hot keys, {tasks} tasks"),
                measured: median(hit.into_iter()),
                bound: 200.0,
                at_least: false,
            }));
        }
    }
    Ok(goals)
}

/// Loads of hits by an engine's own API.
async fn sync<F>(keys: &Arc<[String]>, tasks: usize, options: Options, hit: F) -> Sample
where
    F: Fn(&str) -> bool + Clone + Send + Sync + 'static,
{
    let keys = Arc::clone(keys);
    run(tasks, options.slice, move |task, number| {
        let (keys, hit) = (Arc::clone(&keys), hit.clone());
        async move {
            let mut at = start(task, number) % keys.len();
            for _ in 0..BATCH {
                assert!(hit(&keys[at]), "every key is there");
                at = next(at, keys.len());
            }
            // The runtime's clock needs a thread now and then.
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Loads of hits through the contract.
async fn through(
    keys: &Arc<[String]>,
    tasks: usize,
    options: Options,
    cache: &Arc<dyn CacheClient>,
) -> Sample {
    let (keys, cache) = (Arc::clone(keys), Arc::clone(cache));
    run(tasks, options.slice, move |task, number| {
        let (keys, cache) = (Arc::clone(&keys), Arc::clone(&cache));
        async move {
            let mut at = start(task, number) % keys.len();
            for _ in 0..BATCH {
                assert!(cache.get(&keys[at]).await.is_ok(), "every key is there");
                at = next(at, keys.len());
            }
        }
    })
    .await
}

fn start(task: usize, number: usize) -> usize {
    task * 1_009 + number * 31
}

/// Far enough to be on another line of the processor's cache, and through all keys.
fn next(at: usize, keys: usize) -> usize {
    (at + 7_919) % keys
}

fn quick_cache_of(keys: &[String]) -> Arc<quick_cache::sync::Cache<Box<str>, Kept>> {
    let cache = Arc::new(quick_cache::sync::Cache::new(2 * KEYS));
    for key in keys {
        cache.insert(key.as_str().into(), kept());
    }
    cache
}

fn moka_of(keys: &[String]) -> moka::sync::Cache<Box<str>, Kept> {
    let cache = moka::sync::Cache::new(u64::try_from(2 * KEYS).unwrap_or(0));
    for key in keys {
        cache.insert(key.as_str().into(), kept());
    }
    cache.run_pending_tasks();
    cache
}

fn foyer_of(keys: &[String]) -> foyer_memory::Cache<Box<str>, Kept> {
    let cache = foyer_memory::CacheBuilder::new(4 * KEYS).build();
    for key in keys {
        drop(cache.insert(key.as_str().into(), kept()));
    }
    cache
}

async fn tiered_of(keys: &[String]) -> Result<Arc<dyn CacheClient>> {
    let config = NearConfig::builder().life(std::time::Duration::from_secs(24 * 3_600));
    let cache = Arc::new(Tiered::new(Arc::new(Endless), config.build()?));
    for key in keys {
        cache.get(key).await?;
    }
    anyhow::ensure!(cache.stats().evictions == 0, "all keys fit");
    Ok(cache)
}

async fn memory_of(keys: &[String]) -> Result<Arc<dyn CacheClient>> {
    let cache = Arc::new(MemoryCache::default());
    for key in keys {
        // With a deadline, as a near entry has one.
        cache.set(key, kept().0, Ttl::secs(24 * 3_600)).await?;
    }
    Ok(cache)
}
