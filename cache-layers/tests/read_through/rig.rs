//! Processes on one cache, a clock that they share, and the upstream that they load from.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{Bytes, CacheClient, MemoryCache};
use cache_layers::read_through::{
    Answer, Coordination, ReadError, ReadThroughConfigBuilder, RefreshAhead, WallClock,
};
use cache_layers::{Loaded, ReadThrough, ReadThroughConfig};
use cache_mock::{Faults, FaultyCache};

pub(crate) const LEASE: Duration = Duration::from_secs(10);
pub(crate) const LIFE: Duration = Duration::from_secs(100);
pub(crate) const KEY: &str = "user:7";
/// Where the lease of [`KEY`] is.
pub(crate) const LEASE_KEY: &str = "user:7:#lease:#7OG";

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A time of day that goes with virtual time.
#[derive(Debug)]
pub(crate) struct VirtualClock(Instant);

impl WallClock for VirtualClock {
    fn since_epoch(&self) -> Duration {
        secs(1_700_000_000) + (clock::now() - self.0)
    }
}

pub(crate) type Loading<V> = Pin<Box<dyn Future<Output = Result<Loaded<V>, io::Error>> + Send>>;

/// What is loaded from, and how often it was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upstream(Arc<AtomicU32>);

impl Upstream {
    /// How many loads were begun.
    pub(crate) fn loads(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }

    /// A loader that takes its time.
    pub(crate) fn gives<V: Send + 'static>(
        &self,
        loaded: Loaded<V>,
        after: Duration,
    ) -> impl FnOnce() -> Loading<V> + Send + use<V> {
        let upstream = self.clone();
        move || {
            upstream.0.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                tokio::time::sleep(after).await;
                Ok(loaded)
            })
        }
    }

    pub(crate) fn gives_text(
        &self,
        text: &'static str,
        after: Duration,
    ) -> impl FnOnce() -> Loading<Bytes> + Send + use<> {
        self.gives(Loaded::new(text), after)
    }

    /// A loader that fails after a time.
    pub(crate) fn fails<V: Send + 'static>(
        &self,
        after: Duration,
    ) -> impl FnOnce() -> Loading<V> + Send + use<V> {
        let upstream = self.clone();
        move || {
            upstream.0.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                tokio::time::sleep(after).await;
                Err(io::Error::other("upstream is down"))
            })
        }
    }
}

/// One cache, and what its processes have in common.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) memory: Arc<MemoryCache>,
    pub(crate) upstream: Upstream,
    clock: Arc<VirtualClock>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self {
            memory: Arc::new(MemoryCache::default()),
            upstream: Upstream::default(),
            clock: Arc::new(VirtualClock(clock::now())),
        }
    }

    /// What the tests start from: no jitter, no refresh ahead, a life of 100 s, a lease of 10 s.
    pub(crate) fn config(&self) -> ReadThroughConfigBuilder {
        ReadThroughConfig::builder()
            .clock(self.clock.clone())
            .life(LIFE)
            .jitter(0.0)
            .refresh_ahead(RefreshAhead::Never)
            .coordination(Coordination::Fleet { lease: LEASE })
    }

    /// A process.
    pub(crate) fn process(&self) -> ReadThrough {
        self.process_with(|config| config)
    }

    /// A process that is configured otherwise.
    pub(crate) fn process_with(
        &self,
        change: impl FnOnce(ReadThroughConfigBuilder) -> ReadThroughConfigBuilder,
    ) -> ReadThrough {
        self.over(self.memory.clone(), change)
    }

    /// A process whose own way to the cache can be broken.
    pub(crate) fn faulty_with(
        &self,
        change: impl FnOnce(ReadThroughConfigBuilder) -> ReadThroughConfigBuilder,
    ) -> (ReadThrough, Faults) {
        let cache = FaultyCache::new(self.memory.clone());
        let faults = cache.faults().clone();
        (self.over(Arc::new(cache), change), faults)
    }

    pub(crate) fn over(
        &self,
        client: Arc<dyn CacheClient>,
        change: impl FnOnce(ReadThroughConfigBuilder) -> ReadThroughConfigBuilder,
    ) -> ReadThrough {
        ReadThrough::new(client, change(self.config()).build().unwrap())
    }

    /// What a process without any load of its own would read.
    pub(crate) async fn stored(&self, key: &str) -> Option<String> {
        let reader = self.process_with(|config| config.coordination(Coordination::Process));
        let nothing = || async { Ok::<_, io::Error>(Loaded::absent().not_stored()) };
        let answer = reader.get_or_load(key, nothing).await.unwrap();
        reader.settled().await;
        answer
            .value
            .map(|value| String::from_utf8(value.to_vec()).unwrap())
    }
}

pub(crate) fn text(result: Result<Answer, ReadError>) -> String {
    let value = result.unwrap().value.expect("a value");
    String::from_utf8(value.to_vec()).unwrap()
}
