//! A layer that counts, times and traces every call.
//!
//! In here: [`Observed`], a layer that does not change the calls that pass through it. The
//! [catalogue](crate::metrics::catalog) lists what it measures. Not in here: exporters.
//!
//! # Where it belongs
//!
//! Twice in the stack: `Prefixed > Observed("edge") > Tiered > Encrypted > Observed("far") > Guarded > client`.
//!
//! - The edge sees what callers see, including hits of the near cache. Without it a service cannot tell how much the
//!   near cache saves, and a hit leaves no trace at all.
//! - The far one sees what the backend is asked, after the near cache and before the guard. Above the near cache it
//!   would measure the times of a map in memory. Below the guard it would miss what the breaker shed, and count what
//!   the deadline ended as cancelled. If the guard bypasses failures, they are misses here: `cache.guard.bypassed`
//!   counts them.
//! - Without a near cache, one is enough: the edge, with the [system](ObservedConfigBuilder::system) that its calls
//!   go to. Its calls are both what callers see and what the backend is asked.
//!
//! # What it costs
//!
//! Every call is counted exactly. Counting, the box that every layer's call costs, and a span that is switched off
//! take some 50 to 80 ns. A duration costs 200 to 600 ns with a real meter provider, most of it inside the SDK. That
//! is more than a near hit, and as much as the client itself under load. So the edge measures one call in 16, and
//! calls to a backend are measured up to about 1,000 per second and thread. Both are sampled at random ([`Timing`]).
//! Spans have the level `debug`.

mod call;
mod client;
mod config;
mod each;

use std::fmt;
use std::sync::Arc;

use cache_core::{CacheClient, CacheError};
use tracing::Instrument as _;

pub use crate::metrics::Tier;

pub use self::config::{ObservedConfig, ObservedConfigBuilder, Timing};

use self::call::Call;
use crate::metrics::{Operation, Outcome, Sampler, TierCalls};

/// A client whose calls are counted, timed and traced. See the [module](self) for where it belongs.
///
/// # Behaviour
///
/// Answers, errors, deadlines and [`invalidations`](CacheClient::invalidations) are those of the client inside. A
/// call whose future is dropped before it has an answer is counted as `cancelled`. A future that was never polled
/// does not count.
///
/// No label and no span contains a key, a value or an error text. Of an error they contain the
/// [`kind`](CacheError::kind).
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use cache_core::{CacheClient, MemoryCache, Ttl};
/// use cache_layers::observed::{Observed, ObservedConfig, Tier};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let config = ObservedConfig::builder().tier(Tier::Far).system("memory").build()?;
/// let cache: Arc<dyn CacheClient> = Arc::new(Observed::new(Arc::new(MemoryCache::default()), config));
/// cache.set("greeting", "hello".into(), Ttl::secs(60)).await?;
/// assert_eq!(cache.get("greeting").await?, "hello");
/// # Ok::<(), cache_core::CacheError>(())
/// # }).unwrap();
/// ```
pub struct Observed {
    inner: Arc<dyn CacheClient>,
    calls: Arc<TierCalls>,
    sampler: Sampler,
}

/// One short line that names the client inside.
impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observed({:?})", self.inner)
    }
}

impl Observed {
    /// Creates a layer that observes `client`.
    #[must_use]
    pub fn new(client: Arc<dyn CacheClient>, config: ObservedConfig) -> Self {
        let ObservedConfig {
            tier,
            system,
            server,
            timing,
            metrics,
        } = config;
        Self {
            inner: client,
            calls: metrics.calls(tier, system, server),
            sampler: Sampler::new(timing),
        }
    }

    /// Returns the client inside.
    #[must_use]
    pub fn inner(&self) -> &Arc<dyn CacheClient> {
        &self.inner
    }

    /// Runs `call` and records how it ended. `outcome` classifies its answer.
    #[inline]
    async fn observe<T>(
        &self,
        operation: Operation,
        keys: usize,
        call: impl Future<Output = Result<T, CacheError>> + Send,
        outcome: impl FnOnce(&T) -> Outcome + Send,
    ) -> Result<T, CacheError> {
        let observed = Call::begin(&self.calls, &self.sampler, operation, keys);
        // Without a subscriber, entering a span would only cost time.
        let result = match observed.span() {
            Some(span) => call.instrument(span).await,
            None => call.await,
        };
        observed.end(match &result {
            Ok(answer) => outcome(answer),
            Err(error) => Outcome::of_error(error),
        });
        result
    }
}
