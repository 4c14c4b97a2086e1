//! What decoding once is worth: a hit of a `TypedReadThrough`, beside one of a `ReadThrough` whose caller decodes
//! what it gets, and beside the near tier of bytes that this one stands on.

use std::collections::BTreeMap;
use std::io;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use benches::{Goal, Options, Sample, Table, run};
use cache_core::{CacheClient, MemoryCache, Ttl};
use cache_layers::read_through::{Json, RefreshAhead};
use cache_layers::{Loaded, NearConfig, ReadThrough, ReadThroughConfig, Tiered, TypedReadThrough};
use serde::{Deserialize, Serialize};

const TASKS: [usize; 2] = [1, 2];

/// Few enough to stay in the processor's cache, all of them near.
const KEYS: usize = 64;

/// Hits inside one measured step: so its time in microseconds is that of a hit in nanoseconds.
const BATCH: usize = 1_000;

const DAY: Duration = Duration::from_secs(24 * 3_600);

const NAMES: [&str; 3] = [
    "Tiered, bytes, through dyn",
    "TypedReadThrough, Arc<T>",
    "ReadThrough over Tiered, JSON per hit",
];
const TIERED: usize = 0;
const TYPED: usize = 1;
const DECODING: usize = 2;

/// What a service keeps of a tenant.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Settings {
    name: String,
    features: Vec<String>,
    limits: BTreeMap<String, u64>,
}

fn settings() -> Settings {
    Settings {
        name: "a tenant of the usual size".to_owned(),
        features: (0..16).map(|number| format!("feature-{number:03}")).collect(),
        limits: (0_u64..16)
            .map(|number| (format!("limit-of-{number:03}"), number * 1_000))
            .collect(),
    }
}

/// Prints the table.
pub(crate) async fn compare(options: Options) -> Result<Vec<Goal>> {
    let keys: Arc<[String]> = (0..KEYS)
        .map(|number| format!("bench:tenant:{number:06}"))
        .collect();
    let bytes = serde_json::to_vec(&settings())?;
    let tiered = tiered_of(&keys, &bytes).await?;
    let typed = typed_of(&keys).await?;
    let decoding = decoding_of(&keys, &bytes).await?;
    let title = format!("times of {BATCH} hits of {} bytes of JSON; tasks:", bytes.len());
    let mut table = Table::new(&title, &TASKS, &NAMES);
    for _ in 0..options.rounds {
        for (column, &tasks) in TASKS.iter().enumerate() {
            let cache = Arc::clone(&tiered);
            let sample = hits(&keys, tasks, options, move |key| {
                let cache = Arc::clone(&cache);
                async move { Ok(!cache.get(&key).await?.is_empty()) }
            });
            table.add(TIERED, column, sample.await);
            let through = typed.clone();
            let sample = hits(&keys, tasks, options, move |key| {
                let through = through.clone();
                async move {
                    let answer = through.get_or_load(&key, missing::<Settings>).await?;
                    Ok(answer.value.is_some_and(|settings| settings.limits.len() == 16))
                }
            });
            table.add(TYPED, column, sample.await);
            let through = decoding.clone();
            let sample = hits(&keys, tasks, options, move |key| {
                let through = through.clone();
                async move {
                    let answer = through.get_or_load(&key, missing::<bytes::Bytes>).await?;
                    let settings: Settings = serde_json::from_slice(&answer.value.context("no value")?)?;
                    Ok(settings.limits.len() == 16)
                }
            });
            table.add(DECODING, column, sample.await);
        }
    }
    writeln!(io::stdout().lock(), "{table}")?;
    let goal = |to: usize, bound, column: usize| Goal {
        what: format!(
            "hits of a TypedReadThrough to those of: {}, {} tasks",
            NAMES[to], TASKS[column]
        ),
        measured: table.ratio(TYPED, to, column),
        bound,
        at_least: true,
    };
    let columns = 0..TASKS.len();
    Ok(columns
        .flat_map(|column| [goal(DECODING, 5.0, column), goal(TIERED, 1.0, column)])
        .collect())
}

/// Every key is there, so that nothing is to be loaded.
async fn missing<T>() -> Result<Loaded<T>, io::Error> {
    Err(io::Error::other("every key is there"))
}

/// Loads of hits; `hit` says whether it got what is stored.
async fn hits<F, Fut>(keys: &Arc<[String]>, tasks: usize, options: Options, hit: F) -> Sample
where
    F: Fn(Arc<str>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<bool>> + Send,
{
    let keys: Arc<[Arc<str>]> = keys.iter().map(|key| key.as_str().into()).collect();
    run(tasks, options.slice, move |task, number| {
        let (keys, hit) = (Arc::clone(&keys), hit.clone());
        async move {
            let start = task * 31 + number;
            for turn in 0..BATCH {
                let key = Arc::clone(&keys[(start + turn * 7) % keys.len()]);
                assert!(hit(key).await.is_ok_and(|right| right), "every key is there");
            }
            // The runtime's clock needs a thread now and then.
            tokio::task::yield_now().await;
        }
    })
    .await
}

fn near() -> Result<NearConfig> {
    Ok(NearConfig::builder().life(DAY).build()?)
}

fn config() -> Result<ReadThroughConfig> {
    let config = ReadThroughConfig::builder().life(DAY).jitter(0.0);
    Ok(config.refresh_ahead(RefreshAhead::Never).build()?)
}

async fn tiered_of(keys: &[String], bytes: &[u8]) -> Result<Arc<dyn CacheClient>> {
    let cache = Arc::new(Tiered::new(Arc::new(MemoryCache::default()), near()?));
    for key in keys {
        cache.set(key, bytes.to_vec().into(), Ttl::After(DAY)).await?;
        cache.get(key).await?;
    }
    Ok(cache)
}

async fn typed_of(keys: &[String]) -> Result<TypedReadThrough<Settings>> {
    let through = TypedReadThrough::new(Arc::new(MemoryCache::default()), Json, config()?, near()?);
    for key in keys {
        through.put(key, Loaded::of(settings())).await?;
        through.get_or_load(key, missing::<Settings>).await?;
    }
    let near = usize::try_from(through.near_stats().entries)?;
    anyhow::ensure!(near == keys.len(), "all keys are near");
    Ok(through)
}

async fn decoding_of(keys: &[String], bytes: &[u8]) -> Result<ReadThrough> {
    let cache = Tiered::new(Arc::new(MemoryCache::default()), near()?);
    let through = ReadThrough::new(Arc::new(cache), config()?);
    for key in keys {
        through.put(key, Loaded::new(bytes.to_vec())).await?;
        through.get_or_load(key, missing::<bytes::Bytes>).await?;
    }
    Ok(through)
}
