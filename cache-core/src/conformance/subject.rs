//! What a scenario runs against: a client, its own namespace, and the properties of the backend.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::expect;
use crate::{CacheClient, CacheError, MAX_KEY_LEN, Ttl, clock, slot};

/// A client under test, and what a scenario needs to know about its backend.
pub struct Subject {
    client: Arc<dyn CacheClient>,
    seed: u64,
    largest_value: usize,
    longest_key: usize,
    load: Load,
    patience: Duration,
    outage: Option<Box<dyn Outage>>,
    foreign_values: Option<Box<dyn ForeignValues>>,
}

/// The load of the scenarios that need it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Load {
    /// The number of futures dropped in mid-call. Default: 100,000.
    pub drops: u32,
    /// The number of parallel tasks. Default: 100.
    pub tasks: u32,
    /// The number of calls per task. Default: 1,000.
    pub calls: u32,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            drops: 100_000,
            tasks: 100,
            calls: 1_000,
        }
    }
}

/// Makes a primary of the client unreachable, and reachable again.
#[async_trait]
pub trait Outage: Send + Sync + 'static {
    /// Makes one primary in use unreachable; returns once it is.
    async fn begin(&self);

    /// Makes it reachable again.
    async fn end(&self);
}

/// Writes what this contract cannot write, as another program would.
#[async_trait]
pub trait ForeignValues: Send + Sync + 'static {
    /// Stores something other than bytes, such as a list, under `key`, where the client under test finds it.
    async fn put(&self, key: &str);
}

impl Subject {
    /// A subject with its own namespace.
    pub fn new(client: impl CacheClient) -> Self {
        Self {
            client: Arc::new(client),
            seed: rand::random(),
            largest_value: 512 * 1024 * 1024,
            longest_key: MAX_KEY_LEN,
            load: Load::default(),
            patience: Duration::from_secs(30),
            outage: None,
            foreign_values: None,
        }
    }

    /// The largest value that the backend accepts, in bytes. Default: 512 MiB, the wire protocol's limit.
    #[must_use]
    pub fn with_largest_value(mut self, bytes: usize) -> Self {
        self.largest_value = bytes;
        self
    }

    /// The longest key that the client accepts, in bytes, if it is shorter than the contract's limit (a layer
    /// that lengthens keys). Default: [`MAX_KEY_LEN`].
    #[must_use]
    pub fn with_longest_key(mut self, bytes: usize) -> Self {
        self.longest_key = bytes;
        self
    }

    /// The number of futures that the cancellation scenario drops. Default: 100,000.
    #[must_use]
    pub fn with_drops(mut self, drops: u32) -> Self {
        self.load.drops = drops;
        self
    }

    /// The number of parallel tasks, and of calls per task. Default: 100 and 1,000.
    #[must_use]
    pub fn with_load(mut self, tasks: u32, calls: u32) -> Self {
        self.load.tasks = tasks;
        self.load.calls = calls;
        self
    }

    /// How long the test waits for something that must happen: an expiry, the end of a call, the return of a
    /// primary. Default: 30 s.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How to make a primary unreachable. Default: not supported.
    #[must_use]
    pub fn with_outage(mut self, outage: impl Outage) -> Self {
        self.outage = Some(Box::new(outage));
        self
    }

    /// How to store something other than bytes. Default: not supported.
    #[must_use]
    pub fn with_foreign_values(mut self, foreign_values: impl ForeignValues) -> Self {
        self.foreign_values = Some(Box::new(foreign_values));
        self
    }

    /// The seed of all randomness in a scenario and of its namespace. Default: a random one per subject.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &dyn CacheClient {
        &*self.client
    }

    /// The client, for a task.
    #[must_use]
    pub fn shared(&self) -> Arc<dyn CacheClient> {
        Arc::clone(&self.client)
    }

    /// `name` in this subject's namespace, which ends with the seed.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        format!("conformance:{:016x}:{name}", self.seed)
    }

    /// `count` keys, spread evenly over the slots from the first on: if there are more keys than primaries,
    /// they touch every primary.
    #[must_use]
    pub fn keys_in_different_slots(&self, name: &str, count: u16) -> Vec<String> {
        let slots = u32::from(slot::SLOTS);
        let part = |key: &str| u32::from(slot::slot_of(key.as_bytes())) * u32::from(count) / slots;
        (0..u32::from(count))
            .map(|wanted| {
                let candidates = (0u64..).map(|number| self.key(&format!("{name}:{number}")));
                let mut fitting = candidates.filter(|key| part(key) == wanted);
                fitting.next().unwrap_or_default()
            })
            .collect()
    }

    /// The largest value that the backend accepts, in bytes.
    #[must_use]
    pub fn largest_value(&self) -> usize {
        self.largest_value
    }

    /// The longest key that the client accepts, in bytes.
    #[must_use]
    pub fn longest_key(&self) -> usize {
        self.longest_key
    }

    /// The load to generate.
    #[must_use]
    pub fn load(&self) -> Load {
        self.load
    }

    /// How long the test waits for something that must happen.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Makes a primary unreachable, and reachable again.
    ///
    /// # Panics
    ///
    /// Panics if the subject does not support it: the list of tests should show a scenario that is left out.
    #[must_use]
    pub fn outage(&self) -> &dyn Outage {
        let Some(outage) = &self.outage else {
            panic!("this scenario needs `Subject::with_outage`; ask for it only `with outage`");
        };
        &**outage
    }

    /// Stores something other than bytes under a key.
    ///
    /// # Panics
    ///
    /// As [`outage`](Self::outage).
    #[must_use]
    pub fn foreign_values(&self) -> &dyn ForeignValues {
        let Some(foreign_values) = &self.foreign_values else {
            panic!("this scenario needs `Subject::with_foreign_values`; ask for it only `with foreign`");
        };
        &**foreign_values
    }

    /// A generator that gives the same numbers for the same seed and `stream`.
    #[must_use]
    pub fn chance(&self, stream: u32) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_add(u64::from(stream)))
    }

    /// Waits until `ttl` has passed on the backend's clock, which is when a key with that TTL has expired.
    pub(super) async fn outlive(&self, ttl: Duration) {
        let marker = self.key(&format!("marker:{:016x}", rand::rng().random::<u64>()));
        let set = self
            .client
            .set(&marker, Bytes::from_static(b"marker"), Ttl::After(ttl))
            .await;
        expect::ok(set, "the set of a key that expires");
        self.gone(&marker).await;
    }

    /// Waits until `key` is a miss.
    pub(super) async fn gone(&self, key: &str) {
        let missed = async || match self.client.get(key).await {
            Ok(_) => false,
            Err(CacheError::Miss) => true,
            Err(error) => panic!("expected a value or a miss of {key}, got the error: {error}"),
        };
        self.eventually("the key to expire", missed).await;
    }

    /// Waits until `condition` holds.
    pub(super) async fn eventually(&self, wanted: &str, condition: impl AsyncFn() -> bool) {
        let start = clock::now();
        let mut pause = Duration::from_millis(1);
        while !condition().await {
            let waited = clock::now() - start;
            expect::that(
                waited < self.patience,
                format_args!("{wanted} within {:?}", self.patience),
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("client", &self.client)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
