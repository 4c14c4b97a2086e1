//! Callers that use a guarded client all the time, one call after the other, and keep book of what each call
//! cost and answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use cache_core::{CacheClient as _, CacheError, Ttl, clock};
use cache_layers::Guarded;
use cache_layers::guarded::BreakerState;
use tests::until;
use tokio::task::JoinSet;

use crate::backend::LIMIT;
use crate::lateness::Lateness;

/// What a caller rests between two calls, so that callers and servers of several tests fit on two cores.
const REST: Duration = Duration::from_millis(2);

/// Callers at work.
pub(crate) struct Callers {
    tasks: JoinSet<Book>,
    shared: Arc<Shared>,
    lateness: Lateness,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Reads that found what was stored.
    hits: AtomicU64,
}

/// What callers saw.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) calls: u64,
    pub(crate) errors: Vec<(&'static str, CacheError)>,
    /// Answers that no cache may give.
    pub(crate) wrong: Vec<String>,
    pub(crate) slowest: Duration,
    /// Times of the calls that began and ended while the circuit was open.
    pub(crate) while_open: Vec<Duration>,
    /// What a bound on time is extended by, see [`Lateness::slack`].
    pub(crate) slack: Duration,
}

impl Callers {
    pub(crate) fn start(cache: &Arc<Guarded>, count: usize) -> Result<Self> {
        let shared = Arc::<Shared>::default();
        let lateness = Lateness::measure()?;
        let mut tasks = JoinSet::new();
        for caller in 0..count {
            let (cache, shared) = (Arc::clone(cache), Arc::clone(&shared));
            tasks.spawn(async move {
                let mut book = Book::default();
                let key = format!("outage:{caller}");
                for turn in 0.. {
                    if shared.stop.load(Ordering::Relaxed) {
                        break;
                    }
                    book.call(&cache, &key, turn, &shared.hits).await;
                    tokio::time::sleep(REST).await;
                }
                book
            });
        }
        Ok(Self {
            tasks,
            shared,
            lateness,
        })
    }

    /// Waits until so many more reads found what was stored.
    pub(crate) async fn until_hits(&self, more: u64) -> Result<()> {
        let wanted = self.shared.hits.load(Ordering::Relaxed) + more;
        until(LIMIT, "hits", || async {
            Ok((self.shared.hits.load(Ordering::Relaxed) >= wanted).then_some(()))
        })
        .await
    }

    pub(crate) async fn stop(self) -> Book {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut all = Book::default();
        for mut book in self.tasks.join_all().await {
            all.calls += book.calls;
            all.errors.append(&mut book.errors);
            all.wrong.append(&mut book.wrong);
            all.slowest = all.slowest.max(book.slowest);
            all.while_open.append(&mut book.while_open);
        }
        all.while_open.sort_unstable();
        all.slack = self.lateness.slack();
        all
    }
}

impl Book {
    /// One of the calls that have an answer when there is no backend.
    async fn call(&mut self, cache: &Guarded, key: &str, turn: u64, hits: &AtomicU64) {
        let is_open = || cache.state() == BreakerState::Open;
        let (before, started) = (is_open(), clock::now());
        let ended = match turn % 8 {
            0 => ("set", cache.set(key, key.to_owned().into(), Ttl::Forever).await),
            1 => {
                let ended = cache.get_many(&[key, "outage:none"]).await;
                let ended = ended.map(|values| match &values[..] {
                    [value, None] => self.check(key, value.as_deref(), hits),
                    _ => self.wrong.push(format!("{} answers to two keys", values.len())),
                });
                ("get_many", ended)
            }
            2 => ("exists", cache.exists(&[key]).await.map(|_| ())),
            3 => ("expire", cache.expire(key, Ttl::secs(600)).await.map(|_| ())),
            4 if turn % 64 == 4 => ("del", cache.del(&[key]).await.map(|_| ())),
            _ => match cache.get(key).await {
                Ok(value) => {
                    self.check(key, Some(&value), hits);
                    ("get", Ok(()))
                }
                Err(CacheError::Miss) => ("get", Ok(())),
                Err(error) => ("get", Err(error)),
            },
        };
        let took = started.elapsed();
        self.calls += 1;
        self.slowest = self.slowest.max(took);
        if before && is_open() {
            self.while_open.push(took);
        }
        if let (method, Err(error)) = ended {
            self.errors.push((method, error));
        }
    }

    fn check(&mut self, key: &str, value: Option<&[u8]>, hits: &AtomicU64) {
        match value {
            None => {}
            Some(value) if value == key.as_bytes() => {
                hits.fetch_add(1, Ordering::Relaxed);
            }
            Some(value) => self
                .wrong
                .push(format!("{key} is {}", String::from_utf8_lossy(value))),
        }
    }

    /// The time within which 99 of 100 calls of the open circuit were answered.
    pub(crate) fn p99_while_open(&self) -> Duration {
        let at = self.while_open.len() * 99 / 100;
        self.while_open.get(at).copied().unwrap_or_default()
    }
}
