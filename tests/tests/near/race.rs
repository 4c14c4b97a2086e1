//! Readers behind a near tier against foreign writers: who saw what, how old it was, and whether everything
//! agrees once the writers rest.
//!
//! Each value is the number of its write. A read that begins after the acknowledgement of write `n` and
//! answers with an older one is stale, by the time that has passed since the acknowledgement of the write
//! that it missed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use cache_core::clock::{self, Instant};
use cache_core::{CacheClient, CacheError, Ttl};
use tests::until;
use tokio::task::JoinHandle;

/// Keys that are written and read. Few, so that most reads meet a write.
const KEYS: usize = 256;

/// Reads at a time.
const READERS: usize = 16;

/// Writes at a time.
const WRITERS: usize = 32;

/// How long after the last write, and after the last fault, everything has to agree.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);

/// How long the writes of a race may take, on a starved machine.
const LIMIT: Duration = Duration::from_secs(150);

/// A race that is going on.
pub(crate) struct Race {
    books: Arc<Vec<Book>>,
    count: Arc<Counts>,
    near: Arc<dyn CacheClient>,
    far: Arc<dyn CacheClient>,
    readers: Vec<JoinHandle<Vec<Duration>>>,
    writers: Vec<JoinHandle<()>>,
}

/// What is known of one key: when each of its writes was acknowledged.
#[derive(Default)]
struct Book {
    name: String,
    acknowledged: Mutex<Vec<Instant>>,
    /// Writes are one at a time for each key, so that their order is known.
    busy: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Counts {
    stop_writing: AtomicBool,
    stop_reading: AtomicBool,
    writes: AtomicU64,
    reads: AtomicU64,
    errors: AtomicU64,
}

/// How a race went.
pub(crate) struct Outcome {
    pub(crate) writes: u64,
    pub(crate) reads: u64,
    pub(crate) errors: u64,
    /// By how much the answers were late that were not the newest, the latest last.
    pub(crate) stale: Vec<Duration>,
}

impl Race {
    /// Starts readers on `near` and writers on `far`.
    pub(crate) fn start(near: &Arc<dyn CacheClient>, far: &Arc<dyn CacheClient>, name: &str) -> Self {
        let books: Arc<Vec<Book>> = Arc::new(
            (0..KEYS)
                .map(|number| Book {
                    name: format!("race:{name}:{number}"),
                    ..Book::default()
                })
                .collect(),
        );
        let count = Arc::new(Counts::default());
        let readers = (0..READERS)
            .map(|seat| {
                let (books, count, near) = (Arc::clone(&books), Arc::clone(&count), Arc::clone(near));
                tokio::spawn(async move { read(seat, &books, &count, &*near).await })
            })
            .collect();
        let writers = (0..WRITERS)
            .map(|seat| {
                let (books, count, far) = (Arc::clone(&books), Arc::clone(&count), Arc::clone(far));
                tokio::spawn(async move { write(seat, &books, &count, &*far).await })
            })
            .collect();
        Self {
            books,
            count,
            near: Arc::clone(near),
            far: Arc::clone(far),
            readers,
            writers,
        }
    }

    /// How many writes were acknowledged so far.
    pub(crate) fn writes(&self) -> u64 {
        self.count.writes.load(Ordering::Relaxed)
    }

    /// Waits for `writes` writes in all.
    pub(crate) async fn until_written(&self, writes: u64) -> Result<()> {
        until(LIMIT, "the writes", || async {
            Ok((self.writes() >= writes).then_some(()))
        })
        .await
    }

    /// Lets the writers rest, waits for as long as everything may take to settle, and compares what the near
    /// tier says with what the servers say: nothing stale may be left.
    pub(crate) async fn stop(self) -> Result<Outcome> {
        self.count.stop_writing.store(true, Ordering::Relaxed);
        for writer in self.writers {
            writer.await?;
        }
        // The readers go on meanwhile: what they read last is what is kept.
        tokio::time::sleep(SETTLE).await;
        let mut left = Vec::new();
        for book in self.books.iter() {
            let (near, far) = (self.near.get(&book.name).await, self.far.get(&book.name).await);
            if known(near)? != known(far)? {
                left.push(book.name.clone());
            }
        }
        self.count.stop_reading.store(true, Ordering::Relaxed);
        let mut stale = Vec::new();
        for reader in self.readers {
            stale.extend(reader.await?);
        }
        stale.sort_unstable();
        ensure!(left.is_empty(), "stale {SETTLE:?} after the last write: {left:?}");
        Ok(Outcome {
            writes: self.count.writes.load(Ordering::Relaxed),
            reads: self.count.reads.load(Ordering::Relaxed),
            errors: self.count.errors.load(Ordering::Relaxed),
            stale,
        })
    }
}

impl Outcome {
    /// The staleness that `part` of all reads stay within; zero where they were the newest.
    pub(crate) fn within(&self, part: f64) -> Duration {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts of a test are far below 2^52"
        )]
        let beyond = (self.reads as f64 * (1.0 - part)) as usize;
        match self.stale.len().checked_sub(beyond + 1) {
            Some(index) => self.stale[index],
            None => Duration::ZERO,
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} foreign writes, {} reads, {} of them not the newest; staleness p99 {:?}, p99.9 {:?}, p99.99 {:?}, worst {:?}; {} errors",
            self.writes,
            self.reads,
            self.stale.len(),
            self.within(0.99),
            self.within(0.999),
            self.within(0.9999),
            self.stale.last().copied().unwrap_or_default(),
            self.errors
        )
    }
}

async fn read(seat: usize, books: &[Book], count: &Counts, near: &dyn CacheClient) -> Vec<Duration> {
    let mut stale = Vec::new();
    let mut turn = seat * KEYS / READERS;
    while !count.stop_reading.load(Ordering::Relaxed) {
        turn = (turn + 1) % books.len();
        let book = &books[turn];
        let begun = clock::now();
        let newest = book.times().len();
        // Every third read is one of a batch.
        let read = if turn.is_multiple_of(3) {
            let other = &books[(turn + 1) % books.len()].name;
            let mut values = near.get_each(&[book.name.as_str(), other.as_str()]).await;
            values.swap_remove(0)
        } else {
            near.get(&book.name).await
        };
        let found = match read {
            Ok(value) => number(&value),
            Err(CacheError::Miss) => 0,
            Err(_) => {
                count.errors.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
        };
        count.reads.fetch_add(1, Ordering::Relaxed);
        if found < newest {
            // It should have been that of write `found + 1` at least, which was acknowledged at:
            let missed = book.times()[found];
            stale.push(begun.saturating_duration_since(missed));
        }
        // Hits never wait; the others want to run, too.
        tokio::task::yield_now().await;
    }
    stale
}

async fn write(seat: usize, books: &[Book], count: &Counts, far: &dyn CacheClient) {
    let mut turn = seat * KEYS / WRITERS;
    while !count.stop_writing.load(Ordering::Relaxed) {
        turn = (turn + 97) % books.len();
        let book = &books[turn];
        let Ok(_one) = book.busy.try_lock() else {
            tokio::task::yield_now().await;
            continue;
        };
        let next = book.times().len() + 1;
        // Again until it is acknowledged: the same number twice does no harm.
        while let Err(_error) = far.set(&book.name, next.to_string().into(), Ttl::secs(600)).await {
            count.errors.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        book.times().push(clock::now());
        count.writes.fetch_add(1, Ordering::Relaxed);
    }
}

impl Book {
    fn times(&self) -> std::sync::MutexGuard<'_, Vec<Instant>> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn known(read: Result<bytes::Bytes, CacheError>) -> Result<Option<usize>> {
    match read {
        Ok(value) => Ok(Some(number(&value))),
        Err(CacheError::Miss) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn number(value: &[u8]) -> usize {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}
