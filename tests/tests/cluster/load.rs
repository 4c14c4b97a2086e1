//! Callers that never rest, and keep book of what they were told: the load under which servers are hurt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheClient, CacheError, Outcome, Ttl};
use tokio::task::{JoinError, JoinHandle};

/// Callers at work, each with keys of its own.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    callers: Vec<JoinHandle<Book>>,
}

/// What callers were told.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) calls: u64,
    /// Answers that no server that keeps its word could have given.
    pub(crate) wrong: Vec<String>,
    pub(crate) errors: Vec<CacheError>,
    /// The times at which the first and the last error were told.
    pub(crate) window: Option<(Instant, Instant)>,
    /// The longest call.
    pub(crate) slowest: Duration,
}

/// What a caller may hold its server to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Every write that was acknowledged is there afterwards.
    KeepsAll,
    /// Acknowledged writes may be lost, as when a primary dies before its replica has them; nothing is
    /// done twice all the same.
    MayForget,
}

impl Load {
    /// Starts a caller for each of `names`: it counts in one key by `incr`, and writes and reads another.
    pub(crate) fn start(client: &Arc<dyn CacheClient>, names: Vec<String>, promise: Promise) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let callers = names
            .into_iter()
            .map(|name| {
                let (client, stop) = (Arc::clone(client), Arc::clone(&stop));
                tokio::spawn(async move { call_until(&stop, &*client, &name, promise).await })
            })
            .collect();
        Self { stop, callers }
    }

    /// Lets the callers end, and puts their books together.
    pub(crate) async fn stop(self) -> Result<Book, JoinError> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Book::default();
        for caller in self.callers {
            let book = caller.await?;
            all.calls += book.calls;
            all.wrong.extend(book.wrong);
            all.errors.extend(book.errors);
            all.slowest = all.slowest.max(book.slowest);
            all.window = match (all.window, book.window) {
                (Some((first, last)), Some((one, other))) => Some((first.min(one), last.max(other))),
                (known, None) | (None, known) => known,
            };
        }
        Ok(all)
    }
}

impl Book {
    async fn note<T>(
        &mut self,
        call: impl Future<Output = Result<T, CacheError>>,
    ) -> Result<Option<T>, CacheError> {
        let began = clock::now();
        let result = call.await;
        let ended = clock::now();
        self.calls += 1;
        self.slowest = self.slowest.max(ended - began);
        match result {
            Ok(value) => Ok(Some(value)),
            Err(CacheError::Miss) => Ok(None),
            Err(error) => {
                self.window = Some((self.window.map_or(ended, |(first, _)| first), ended));
                self.errors.push(error.clone());
                Err(error)
            }
        }
    }
}

async fn call_until(stop: &AtomicBool, client: &dyn CacheClient, name: &str, promise: Promise) -> Book {
    let mut book = Book::default();
    let (counter, value) = (format!("counter:{name}"), format!("value:{name}"));
    // The least and the most that the counter may stand at.
    let (mut least, mut most) = (0_i64, 0_i64);
    // What the value may be: what was written last, and writes after it whose outcome is unknown.
    let mut possible: Vec<Option<String>> = vec![None];
    let mut round = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        match book.note(client.incr(&counter)).await {
            Ok(count) => {
                let count = count.unwrap_or_default();
                if count > most + 1 || (promise == Promise::KeepsAll && count <= least) {
                    book.wrong.push(format!(
                        "{counter} is {count}, not within {least}..={most} plus one"
                    ));
                }
                (least, most) = (count, count);
            }
            Err(error) if error.outcome() == Outcome::Unknown => most += 1,
            Err(_) => {}
        }
        let written = format!("{name}-{round}");
        match book
            .note(client.set(&value, written.clone().into(), Ttl::Forever))
            .await
        {
            Ok(_) => possible = vec![Some(written)],
            Err(error) if error.outcome() == Outcome::Unknown => possible.push(Some(written)),
            Err(_) => {}
        }
        if let Ok(found) = book.note(client.get(&value)).await {
            let found = found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            if promise == Promise::KeepsAll && !possible.contains(&found) {
                book.wrong
                    .push(format!("{value} is {found:?}, not one of {possible:?}"));
            }
            if found.as_deref().is_some_and(|text| !text.starts_with(name)) {
                book.wrong
                    .push(format!("{value} is the answer to somebody else: {found:?}"));
            }
        }
        if !book.errors.is_empty() {
            // A call that fails at once must not become a busy loop.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    book
}
