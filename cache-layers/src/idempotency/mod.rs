//! An operation that is asked for several times is done once: the first request runs, its retries get the
//! response that it left.
//!
//! In here: [`Idempotency`], on any client, for any protocol. Not in here: HTTP. The middleware that reads
//! `Idempotency-Key` is in `http` (feature `tower`).
//!
//! After the IETF's draft-ietf-httpapi-idempotency-key-header (the Idempotency-Key HTTP header field), and
//! the practice that it grew from: <https://docs.stripe.com/api/idempotent_requests>.
//!
//! # The way of a request
//!
//! 1. [`acquire`](Idempotency::acquire) names its scope (a tenant, an account), its key (chosen by the client,
//!    new for each operation, the same for each retry of it) and its [`Fingerprint`].
//! 2. The first one gets a [`Claim`]: it runs, and either leaves its response
//!    ([`complete`](Claim::complete)) or, having failed, gives the key back ([`release`](Claim::release)).
//! 3. Whoever asks meanwhile is told that it is in progress; whoever asks later gets the response; whoever
//!    asks for something else under the same key is told so.
//!
//! # What is promised
//!
//! - **One run at a time** per scope and key over all processes on the same cache, and none after one that
//!   was completed, for as long as its response lives. Not so once a claim has expired under a run: where its
//!   process was killed or held up, or could not reach the cache, for longer than
//!   [`claim_life`](IdempotencyConfigBuilder::claim_life), or the run took longer than
//!   [`max_run`](IdempotencyConfigBuilder::max_run). And not where the server loses what it acknowledged: a
//!   failover to a replica that lags, an eviction (the memory policy to choose is `noeviction`).
//! - **No overwriting.** A run whose claim expired leaves its response only where no other run has the key.
//! - **No mixing.** The scope and the key are parts of a [`Keyspace`]'s key: two different pairs never share
//!   one. The record names the key that it belongs to.
//! - **No orphans.** Whoever leaves, at whatever point, leaves no claim behind: see [`Claim`].
//! - **What the cache cannot answer is not guessed**: see [`OnFailure`].
//!
//! It is a matter of what the cache *remembers*; where an operation must not be done twice under any
//! circumstance, the key belongs into the database transaction that does it, too.
//!
//! The client may bypass a cache that is down as long as it makes up no answer to conditional writes: one that
//! did would let everything run. A near tier is of no use below this, and does no harm.
//!
//! # In the cache
//!
//! Under `KEYSPACE:idempotency:SCOPE:KEY` stands a [record](self#record). Of a scope all records are found by
//! [`pattern_under`](Keyspace::pattern_under) of `["idempotency", scope]`.
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

/// Runs what has a key once, and remembers what came of it. See the [module](self) for what is promised.
///
/// Cheap to clone; clones, and others on the same cache with the same keyspace, agree with each other.
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

/// What a request is to do.
#[must_use]
pub enum Acquired {
    /// Nobody has asked, or who did gave the key back: run it.
    Run(Claim),
    /// Another request with this key is running: try again in a while.
    InProgress {
        /// What is left of its claim, unless that is extended: the longest wait after its process was killed.
        remaining: Duration,
    },
    /// It has run: this is its response.
    Replay(Bytes),
    /// It has run, and its response was too large to be kept. Trying again will not help.
    NotReplayable,
    /// The key stands for another request, which has another fingerprint.
    Mismatch,
}

impl Idempotency {
    /// The recipe on top of `client`, its records in `keyspace`.
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

    /// The client that it stands on.
    #[must_use]
    pub fn client(&self) -> &Arc<dyn CacheClient> {
        &self.core.client
    }

    /// The largest response that is kept, in bytes.
    #[must_use]
    pub fn max_response(&self) -> usize {
        self.core.config.max_response
    }

    /// Asks whether the request is to run. `scope` is whose key it is, and may be empty where all keys are
    /// of one party; another scope's requests are never seen.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for an empty key. Otherwise the cache's error, where
    /// [`OnFailure::Refuse`] is chosen; [`CacheError::Corrupt`] where something else stands under the key.
    ///
    /// # Cancel safety
    ///
    /// Safe: a claim that nobody waits for any more, or that is not taken within the
    /// [`cache_deadline`](IdempotencyConfigBuilder::cache_deadline), is given back.
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
        // A keeper that is gone went with the runtime.
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
