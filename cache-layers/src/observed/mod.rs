//! Every call counted, timed and traced.
//!
//! In here: [`Observed`], a layer that changes nothing about the calls that pass through it. What it
//! measures is in the [catalogue](crate::metrics::catalog). Not in here: exporters.
//!
//! # Where it belongs
//!
//! Twice into the stack: `Prefixed > Observed("edge") > Tiered > Encrypted > Observed("far") > Guarded >
//! client`.
//!
//! - The edge sees what callers see: hits of the near tier among them. Without it a service cannot tell
//!   how much the near tier saves it, and a hit costs no trace at all.
//! - The far one sees what the backend is asked, after the near tier and before the guard. Above the near
//!   tier its times would be those of a map in memory; below the guard, what the breaker turned away and
//!   what the deadline cut off would be missing or counted as cancelled. Where the guard bypasses failures,
//!   they are misses here: `cache.guard.bypassed` has them.
//! - Without a near tier, the one place is the edge's, with the [system](ObservedConfigBuilder::system) that its
//!   calls go to: they are what callers see, and what the backend is asked.
//!
//! # What it costs
//!
//! A call is counted exactly; that, the box that every layer's call costs and a span that is switched off
//! are some 50 to 80 ns. A duration costs 200 to 600 ns with a real meter provider, most of it inside the
//! SDK: more than a near hit, and as much as the client itself under load. So the edge measures one call in 16, and
//! calls to a backend are measured up to about 1,000 per second and thread, both chosen by chance ([`Timing`]). Spans are at
//! the level `debug`.

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
/// Answers, errors, deadlines and [`invalidations`](CacheClient::invalidations) are those of the client
/// inside. A call whose future is dropped before it has an answer is counted as `cancelled`; one whose
/// future was never polled was no call.
///
/// No key, no value and no error text is in a label or a span: of an error, its
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

/// One short line: what it stands on.
impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observed({:?})", self.inner)
    }
}

impl Observed {
    /// `client`, observed.
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

    /// The client inside.
    #[must_use]
    pub fn inner(&self) -> &Arc<dyn CacheClient> {
        &self.inner
    }

    /// Does `call` and notes how it ended; `outcome` says what its answer is.
    #[inline]
    async fn observe<T>(
        &self,
        operation: Operation,
        keys: usize,
        call: impl Future<Output = Result<T, CacheError>> + Send,
        outcome: impl FnOnce(&T) -> Outcome + Send,
    ) -> Result<T, CacheError> {
        let observed = Call::begin(&self.calls, &self.sampler, operation, keys);
        // Without anybody who wants spans, entering one would only cost time.
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
