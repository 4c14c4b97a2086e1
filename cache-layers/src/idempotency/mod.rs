//! Runs an operation once however often it is requested: the first request runs, and its retries get the stored
//! response.
//!
//! In here: [`Idempotency`], for any client and any protocol. Not in here: HTTP. The middleware that reads
//! `Idempotency-Key` is in `http` (feature `tower`).
//!
//! The recipe follows the IETF's draft-ietf-httpapi-idempotency-key-header (the Idempotency-Key HTTP header field),
//! and the practice behind it: <https://docs.stripe.com/api/idempotent_requests>.
//!
//! # How a request proceeds
//!
//! 1. [`acquire`](Idempotency::acquire) gets a scope (a tenant, an account), a key and a [`Fingerprint`]. The client
//!    chooses the key: a new one for each operation, the same one for each retry of it.
//! 2. The first request gets a [`Claim`] and runs. Then it stores its response ([`complete`](Claim::complete)), or
//!    releases the key if it failed ([`release`](Claim::release)).
//! 3. A request that comes during the run gets "in progress". A later one gets the response. A different request
//!    under the same key gets a mismatch.
//!
//! # What is promised
//!
//! - **One run at a time** per scope and key over all processes on the same cache, and none after a completed run for
//!   as long as its response is stored. This does not hold once a claim has expired during its run. A claim expires
//!   if its process was killed, held up or cut off from the cache for longer than
//!   [`claim_life`](IdempotencyConfigBuilder::claim_life), or if the run took longer than
//!   [`max_run`](IdempotencyConfigBuilder::max_run). Nor does it hold if the server loses what it acknowledged: a
//!   failover to a replica that lags, or an eviction (choose the memory policy `noeviction`).
//! - **No overwriting.** A run whose claim expired stores its response only if no other run has the key.
//! - **No mixing.** The scope and the key are parts of a [`Keyspace`]'s key, so two different pairs never share one.
//!   The record names its key.
//! - **No orphans.** A caller that leaves, at any point, leaves no claim behind: see [`Claim`].
//! - **No guessing** if the cache cannot answer: see [`OnFailure`].
//!
//! All of this depends on what the cache *remembers*. If an operation must not run twice under any circumstances,
//! also store the key in the database transaction that does the work.
//!
//! The client below may bypass a cache that is down, as long as it makes up no answers to conditional writes: with
//! made-up answers every request would run. A near cache below this recipe is of no use, and does no harm.
//!
//! # In the cache
//!
//! The [record](self#record) is stored under `KEYSPACE:idempotency:SCOPE:KEY`. To match all records of a scope, use
//! [`pattern_under`](Keyspace::pattern_under) with `["idempotency", scope]`.
//!
//! ## Record
//!
#![doc = include_str!("record.md")]
//!
//! # Examples
//!
//! ```
//! use std::sync::Arc;
//! use cache_core::{Keyspace, MemoryCache};
//! use cache_layers::idempotency::{Acquired, Fingerprint};
//! use cache_layers::{Idempotency, IdempotencyConfig};
//!
//! # async fn charge() -> Result<String, std::io::Error> { Ok("charged".into()) }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let payments = Idempotency::new(
//!     Arc::new(MemoryCache::default()),
//!     Keyspace::new("billing")?,
//!     IdempotencyConfig::default(),
//! );
//!
//! let request = Fingerprint::of(["charge", r#"{"cents":700}"#]);
//! let Acquired::Run(claim) = payments.acquire("acme", "8e03978e", request).await? else {
//!     panic!("nobody has asked before");
//! };
//! match charge().await {
//!     Ok(receipt) => drop(claim.complete(receipt).await?),
//!     Err(_) => claim.release().await?,
//! }
//!
//! let Acquired::Replay(receipt) = payments.acquire("acme", "8e03978e", request).await? else {
//!     panic!("it has run");
//! };
//! assert_eq!(receipt, "charged");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod claim;
mod config;
mod events;
mod fingerprint;
mod keeper;
mod record;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::{CacheClient, CacheError, Keyspace, Stage, check_key};
use tokio::sync::oneshot;

pub use claim::{Claim, Completion};
pub use config::{IdempotencyConfig, IdempotencyConfigBuilder, OnFailure};
pub use events::IdempotencyEvent;
pub use fingerprint::Fingerprint;

use crate::within::within;
use keeper::Keeper;

/// The first part of every key.
const PART: &str = "idempotency";

/// Runs each keyed request once, and stores its response. See the [module](self) for what is promised.
///
/// Cheap to clone. Clones, and other instances on the same cache with the same keyspace, work together.
#[derive(Clone, Debug)]
pub struct Idempotency {
    core: Arc<Core>,
}

#[derive(Debug)]
struct Core {
    client: Arc<dyn CacheClient>,
    keyspace: Keyspace,
    config: IdempotencyConfig,
}

/// What a request has to do.
#[must_use]
pub enum Acquired {
    /// The key is new, or was released: run the request.
    Run(Claim),
    /// Another request with this key is running: try again later.
    InProgress {
        /// What is left of its claim if that is not extended: the longest wait after its process was killed.
        remaining: Duration,
    },
    /// The request has run, and this is its response.
    Replay(Bytes),
    /// The request has run, but its response was too large to be kept. Retrying does not help.
    NotReplayable,
    /// The key belongs to another request, with another fingerprint.
    Mismatch,
}

impl Idempotency {
    /// Creates the recipe on top of `client`, with its records in `keyspace`.
    #[must_use]
    pub fn new(client: Arc<dyn CacheClient>, keyspace: Keyspace, config: IdempotencyConfig) -> Self {
        Self {
            core: Arc::new(Core {
                client,
                keyspace,
                config,
            }),
        }
    }

    /// Returns the client that stores the records.
    #[must_use]
    pub fn client(&self) -> &Arc<dyn CacheClient> {
        &self.core.client
    }

    /// The largest response that is kept, in bytes.
    #[must_use]
    pub fn max_response(&self) -> usize {
        self.core.config.max_response
    }

    /// Asks whether the request has to run. `scope` is the owner of the key, and may be empty if all keys have one
    /// owner. Requests of other scopes are never seen.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for an empty key. The cache's error, if [`OnFailure::Refuse`] is chosen.
    /// [`CacheError::Corrupt`] if something other than a record is stored under the key.
    ///
    /// # Cancel safety
    ///
    /// Safe. A claim is released if its caller has left, or does not take it within the
    /// [`cache_deadline`](IdempotencyConfigBuilder::cache_deadline).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn acquire(
        &self,
        scope: &str,
        key: &str,
        fingerprint: Fingerprint,
    ) -> Result<Acquired, CacheError> {
        check_key(key)?;
        let config = &self.core.config;
        let key = self.core.keyspace.key([PART, scope, key]);
        let keeper = Keeper::new(Arc::clone(&self.core), key, fingerprint)?;
        let (answer, acquired) = oneshot::channel();
        tokio::spawn(keeper.run(answer));
        // If the background task is gone, its runtime has ended.
        let acquired = async {
            let offer = acquired.await.unwrap_or(Err(CacheError::Closed))?;
            offer.take().ok_or(CacheError::Timeout {
                stage: Stage::Call,
                after: config.cache_deadline,
            })
        };
        match within(config.cache_deadline, acquired).await {
            Ok(acquired) => {
                config.listener.tell(&IdempotencyEvent::of(&acquired));
                Ok(acquired)
            }
            Err(error @ CacheError::InvalidInput { .. }) => Err(error),
            Err(error) if config.on_failure == OnFailure::RunUnprotected => {
                config.listener.tell(&IdempotencyEvent::Unprotected { error });
                Ok(Acquired::Run(Claim::unprotected()))
            }
            Err(error) => {
                let event = IdempotencyEvent::Failed { error: error.clone() };
                config.listener.tell(&event);
                Err(error)
            }
        }
    }
}

/// Shows the length of a response, never the response.
impl fmt::Debug for Acquired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(claim) => f.debug_tuple("Run").field(claim).finish(),
            Self::InProgress { remaining } => f
                .debug_struct("InProgress")
                .field("remaining", remaining)
                .finish(),
            Self::Replay(response) => f.debug_struct("Replay").field("len", &response.len()).finish(),
            Self::NotReplayable => f.write_str("NotReplayable"),
            Self::Mismatch => f.write_str("Mismatch"),
        }
    }
}
