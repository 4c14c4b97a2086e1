//! A far tier whose line a test holds: how long a call takes on its way there and back, and whether
//! changes are reported.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cache_core::{
    Bytes, CacheClient, CacheError, Entry, Invalidation, InvalidationListener, InvalidationSource, Lookup,
    MemoryCache, Subscription, TrackingStatus, Ttl,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The client of a process; `memory` is the backend, which others write to.
#[derive(Debug)]
pub(crate) struct Line {
    memory: Arc<MemoryCache>,
    reports: Option<Arc<Reports>>,
    pace: Mutex<Pace>,
    chance: Mutex<Option<(StdRng, Duration)>>,
    reads: AtomicU64,
    batches: AtomicU64,
    counts: AtomicU64,
}

/// How long the next calls take on their ways. `tokio`'s time.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    there: Duration,
    back: Duration,
}

impl Line {
    /// A line that reports changes.
    pub(crate) fn new(memory: &Arc<MemoryCache>) -> Arc<Self> {
        Self::with(memory, Some(Reports::of(memory)))
    }

    /// A line of a backend that has nothing to report changes with.
    pub(crate) fn silent(memory: &Arc<MemoryCache>) -> Arc<Self> {
        Self::with(memory, None)
    }

    fn with(memory: &Arc<MemoryCache>, reports: Option<Arc<Reports>>) -> Arc<Self> {
        Arc::new(Self {
            memory: Arc::clone(memory),
            reports,
            pace: Mutex::default(),
            chance: Mutex::default(),
            reads: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            counts: AtomicU64::new(0),
        })
    }

    /// From now on a call is carried out after `there`, and its answer comes `back` later.
    pub(crate) fn takes(&self, there: Duration, back: Duration) {
        *self.pace.lock().unwrap() = Pace { there, back };
    }

    /// From now on each way of a call takes a time by chance.
    pub(crate) fn takes_by_chance(&self, seed: u64, most: Duration) {
        *self.chance.lock().unwrap() = Some((StdRng::seed_from_u64(seed), most));
    }

    /// How many keys were read by calls for one key.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    /// How many calls for many keys there were.
    pub(crate) fn batches(&self) -> u64 {
        self.batches.load(Ordering::SeqCst)
    }

    /// How many calls counted which keys exist.
    pub(crate) fn counts(&self) -> u64 {
        self.counts.load(Ordering::SeqCst)
    }

    /// What says what changed.
    pub(crate) fn reports(&self) -> &Arc<Reports> {
        self.reports.as_ref().expect("a line that reports")
    }

    fn pace(&self) -> Pace {
        match &mut *self.chance.lock().unwrap() {
            None => *self.pace.lock().unwrap(),
            Some((random, most)) => Pace {
                there: most.mul_f64(random.random()),
                back: most.mul_f64(random.random()),
            },
        }
    }

    async fn call<T>(&self, call: impl Future<Output = T>) -> T {
        let Pace { there, back } = self.pace();
        pause(there).await;
        let answer = call.await;
        pause(back).await;
        answer
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// The connection that reports changes.
pub(crate) struct Reports {
    status: Mutex<TrackingStatus>,
    listeners: Mutex<Vec<(u64, Arc<dyn InvalidationListener>)>>,
    next_id: AtomicU64,
    /// What was reported and not delivered, where delivery is held back.
    held: Mutex<Option<Vec<Invalidation>>>,
    backend: Mutex<Option<Subscription>>,
}

impl Reports {
    fn of(memory: &Arc<MemoryCache>) -> Arc<Self> {
        let reports = Arc::new(Self {
            status: Mutex::new(TrackingStatus::On),
            listeners: Mutex::default(),
            next_id: AtomicU64::new(0),
            held: Mutex::default(),
            backend: Mutex::default(),
        });
        let hears = Arc::downgrade(&reports);
        let subscription =
            memory
                .invalidations()
                .unwrap()
                .subscribe(Arc::new(move |event: &Invalidation| {
                    if let Some(reports) = hears.upgrade()
                        && reports.status() == TrackingStatus::On
                    {
                        reports.report(event);
                    }
                }));
        *reports.backend.lock().unwrap() = Some(subscription);
        reports
    }

    fn report(&self, event: &Invalidation) {
        if let Some(held) = &mut *self.held.lock().unwrap() {
            held.push(event.clone());
            return;
        }
        self.tell(event);
    }

    /// Delivers an event, whatever the state of the line.
    pub(crate) fn tell(&self, event: &Invalidation) {
        let listeners = self.listeners.lock().unwrap().clone();
        for (_, listener) in listeners {
            listener.on_invalidation(event);
        }
    }

    /// The connection breaks: what is on its way is lost, and so is what changes until it is back.
    pub(crate) fn cut(&self) {
        *self.status.lock().unwrap() = TrackingStatus::Interrupted;
        if let Some(held) = &mut *self.held.lock().unwrap() {
            held.clear();
        }
        self.tell(&Invalidation::ConnectionLost);
    }

    /// Changes are reported again.
    pub(crate) fn mend(&self) {
        *self.status.lock().unwrap() = TrackingStatus::On;
    }

    /// The backend says that it does not report changes.
    pub(crate) fn refuse(&self, reason: &str) {
        *self.status.lock().unwrap() = TrackingStatus::Off(reason.to_owned());
    }

    /// From now on reports are on their way until [`deliver`](Self::deliver).
    pub(crate) fn hold(&self) {
        *self.held.lock().unwrap() = Some(Vec::new());
    }

    /// Delivers what was held back, and holds nothing any more.
    pub(crate) fn deliver(&self) {
        let held = self.held.lock().unwrap().take();
        held.into_iter().flatten().for_each(|event| self.tell(&event));
    }
}

impl InvalidationSource for Reports {
    fn subscribe(&self, listener: Arc<dyn InvalidationListener>) -> Subscription {
        self.listeners
            .lock()
            .unwrap()
            .push((self.next_id.fetch_add(1, Ordering::SeqCst), listener));
        // Tests keep their listeners.
        Subscription::new(|| {})
    }

    fn status(&self) -> TrackingStatus {
        self.status.lock().unwrap().clone()
    }
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reports")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheClient for Line {
    async fn get(&self, key: &str) -> Result<Bytes, CacheError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.call(self.memory.get(key)).await
    }
    async fn get_entry(&self, key: &str) -> Result<Entry, CacheError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let read = async {
            let on = self
                .reports
                .as_ref()
                .is_some_and(|reports| reports.status() == TrackingStatus::On);
            let mut entry = self.memory.get_entry(key).await?;
            entry.tracked = on;
            Ok(entry)
        };
        self.call(read).await
    }
    async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        self.batches.fetch_add(1, Ordering::SeqCst);
        self.call(self.memory.get_many(keys)).await
    }
    async fn get_each<'a>(&self, keys: &[&'a str]) -> Vec<Result<Bytes, CacheError>> {
        self.batches.fetch_add(1, Ordering::SeqCst);
        self.call(self.memory.get_each(keys)).await
    }
    async fn get_entries<'a>(&self, keys: &[&'a str]) -> Vec<Result<Lookup, CacheError>> {
        let calls = if keys.len() == 1 {
            &self.reads
        } else {
            &self.batches
        };
        calls.fetch_add(1, Ordering::SeqCst);
        let read = async {
            let on = self
                .reports
                .as_ref()
                .is_some_and(|reports| reports.status() == TrackingStatus::On);
            let mut results = self.memory.get_entries(keys).await;
            for result in &mut results {
                match result {
                    Ok(Lookup::Found(entry)) => entry.tracked = on,
                    Ok(Lookup::Absent(absence)) => absence.tracked = on,
                    Err(_) => {}
                }
            }
            results
        };
        self.call(read).await
    }
    async fn set(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<(), CacheError> {
        self.call(self.memory.set(key, value, ttl)).await
    }
    async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError> {
        self.call(self.memory.set_many(entries, ttl)).await
    }
    async fn set_each<'a>(&self, entries: &[(&'a str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>> {
        self.call(self.memory.set_each(entries)).await
    }
    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<bool, CacheError> {
        self.call(self.memory.set_if_absent(key, value, ttl)).await
    }
    async fn compare_and_set(
        &self,
        key: &str,
        expected: &[u8],
        value: Bytes,
        ttl: Ttl,
    ) -> Result<bool, CacheError> {
        self.call(self.memory.compare_and_set(key, expected, value, ttl))
            .await
    }
    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError> {
        self.call(self.memory.compare_and_delete(key, expected)).await
    }
    async fn get_and_delete(&self, key: &str) -> Result<Bytes, CacheError> {
        self.call(self.memory.get_and_delete(key)).await
    }
    async fn get_and_expire(&self, key: &str, ttl: Ttl) -> Result<Bytes, CacheError> {
        self.call(self.memory.get_and_expire(key, ttl)).await
    }
    async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        self.call(self.memory.del(keys)).await
    }
    async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        self.counts.fetch_add(1, Ordering::SeqCst);
        self.call(self.memory.exists(keys)).await
    }
    async fn incr(&self, key: &str) -> Result<i64, CacheError> {
        self.call(self.memory.incr(key)).await
    }
    async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError> {
        self.call(self.memory.incr_by(key, delta, ttl)).await
    }
    async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError> {
        self.call(self.memory.expire(key, ttl)).await
    }
    async fn ttl(&self, key: &str) -> Result<Ttl, CacheError> {
        self.call(self.memory.ttl(key)).await
    }
    fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>> {
        let reports = self.reports.clone()?;
        Some(reports)
    }
    async fn ping(&self) -> Result<(), CacheError> {
        self.memory.ping().await
    }
    async fn close(&self) -> Result<(), CacheError> {
        self.memory.close().await
    }
}
