//! Makes all old keys of a namespace unreachable with one call.
//!
//! In here: [`Generations`] and what it promises. [`Keyspace::generation`] decides where the generation goes in a
//! key. Not in here: removing the old keys. They expire with their TTL, or a purge removes their pattern.
//!
//! # What is promised
//!
//! - **One step for all.** [`bump`](Generations::bump) is one atomic addition, however many keys there are. A caller
//!   that builds keys from the new generation never finds a value of an old one.
//! - **A bound on not noticing.** A process that reads [`current`](Generations::current) notices a bump within
//!   [`near_life`](GenerationsConfigBuilder::near_life), counted from when it last began to ask, plus the time that
//!   its last question takes. If the client reports changes, it notices at once. The bound still holds, so a lost
//!   report costs no more than the bound. A client that reads from replicas, or keeps values near, adds their lag.
//! - **Never back.** A missing counter (evicted, flushed, purged, lost by a failover) starts again at a number that
//!   was not used before: the time of day in milliseconds and 20 random bits. All keys of the namespace are then
//!   misses.
//! - **A deadline.** No call waits for the cache for longer than [`deadline`](GenerationsConfigBuilder::deadline),
//!   however many callers ask, and no caller waits for another one.
//! - **No guessing.** If the cache cannot say which generation is current, the answer is an error, not the last known
//!   generation.
//!
//! If the primary confirmed a bump and then loses it in a failover, it is lost for all processes: keys of the old
//! generation can be reached again. If that matters, bump again after a failover.
//!
//! # In the cache
//!
//! An integer without a TTL, at the namespace's prefix followed by `#generation`. For a tenant's keyspace it is in
//! the tenant's slot. It is not a key of a keyspace. The namespace's own pattern covers it.
//!
//! # Examples
//!
//! ```
//! use std::sync::Arc;
//! use cache_core::{CacheClient, CacheClientExt, Keyspace, MemoryCache, Ttl};
//! use cache_layers::{Generations, GenerationsConfig};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let cache = Arc::new(MemoryCache::default());
//! let generations = Generations::new(cache.clone(), GenerationsConfig::default());
//! let acme = Keyspace::new("billing")?.tenant("acme")?;
//!
//! let plan = generations.current(&acme).await?.keys().key(["plan"]);
//! cache.set(&plan, "gold".into(), Ttl::secs(60)).await?;
//!
//! let new = generations.bump(&acme).await?;
//! let plan = generations.current(&acme).await?.keys().key(["plan"]);
//! assert_eq!(cache.find(&plan).await?, None);
//!
//! // What a purge takes to reclaim the memory at once.
//! let old = new.previous().pattern_all();
//! # let _ = old;
//! # Ok::<(), cache_core::CacheError>(())
//! # }).unwrap();
//! ```

mod config;
mod events;
mod near;

use std::sync::Arc;

use bytes::Bytes;
use cache_core::{
    CacheClient, CacheError, Invalidation, Keyspace, Outcome, Subscription, Ttl, check_key, clock,
};
use rand::Rng as _;

pub use self::config::{GenerationsConfig, GenerationsConfigBuilder};
pub use self::events::GenerationsEvent;

use self::near::{Near, Space};
use crate::within::within;

/// How often a read is tried if another process creates or changes the counter at the same moment.
const TRIES: u32 = 5;
/// The random bits of a new number.
const RANDOM_BITS: u32 = 20;
/// Every number that was made here is at least this: it corresponds to a quarter of an hour after the beginning of
/// 1970.
const FLOOR: u64 = 1 << 40;

/// The generations of namespaces. See the [module](self) for what is promised.
///
/// Cheap to clone. Clones share what they have read.
#[derive(Clone, Debug)]
pub struct Generations {
    core: Arc<Core>,
}

#[derive(Debug)]
struct Core {
    client: Arc<dyn CacheClient>,
    config: GenerationsConfig,
    near: Arc<Near>,
    _subscription: Option<Subscription>,
}

/// A namespace in one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    number: u64,
    keys: Keyspace,
}

impl Generation {
    fn new(namespace: &Keyspace, number: u64) -> Self {
        Self {
            number,
            keys: namespace.generation(number),
        }
    }

    /// Its number. Later ones are greater, as long as the counter is not lost. There may be gaps.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The keyspace that builds its keys.
    #[must_use]
    pub const fn keys(&self) -> &Keyspace {
        &self.keys
    }

    /// The keyspace of the generation before. A purge after a [`bump`](Generations::bump) uses its
    /// [`pattern_all`](Keyspace::pattern_all). If the counter had been lost, there was no such generation and the
    /// pattern matches nothing. Those keys expire with their TTL.
    #[must_use]
    pub fn previous(&self) -> Keyspace {
        self.keys.generation(self.number.saturating_sub(1))
    }
}

impl Generations {
    /// Creates generations whose counters are stored through `client`.
    #[must_use]
    pub fn new(client: Arc<dyn CacheClient>, config: GenerationsConfig) -> Self {
        let near = Arc::<Near>::default();
        let listener = Arc::clone(&near);
        let subscription = client
            .invalidations()
            .map(|source| source.subscribe(Arc::new(move |event: &Invalidation| listener.hear(event))));
        Self {
            core: Arc::new(Core {
                client,
                config,
                near,
                _subscription: subscription,
            }),
        }
    }

    /// Returns the client that stores the counters.
    #[must_use]
    pub fn client(&self) -> &Arc<dyn CacheClient> {
        &self.core.client
    }

    /// Returns `namespace` in its current generation. A generation that `namespace` already has is ignored.
    ///
    /// # Errors
    ///
    /// As [`get_entry`](CacheClient::get_entry). [`CacheError::Timeout`] after
    /// [`deadline`](GenerationsConfigBuilder::deadline). [`CacheError::Corrupt`] if the counter's key holds something
    /// else. Callers that ask at the same time share one read, and its error.
    ///
    /// # Cancel safety
    ///
    /// Safe: the read goes on for others.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime whose timers are on.
    pub async fn current(&self, namespace: &Keyspace) -> Result<Generation, CacheError> {
        let key = counter_key(namespace)?;
        let space = self.core.near.space(&key);
        if let Some(number) = space.number() {
            self.core.config.listener.tell(&GenerationsEvent::Known);
            return Ok(Generation::new(namespace, number));
        }
        let number = async {
            if self.core.config.near_life.is_zero() {
                self.core.read(&key).await
            } else {
                self.core.read_for_all(&key, &space).await
            }
        };
        let number = within(self.core.config.deadline, number).await;
        Ok(Generation::new(
            namespace,
            self.core.told(GenerationsEvent::Read, number)?,
        ))
    }

    /// Reads the current generation of `namespace` from the cache. Returns `None` if it has none so far. Unlike
    /// [`current`](Self::current), this creates none.
    ///
    /// A client that [bypasses](crate::guarded::OnFailure::Bypass) a cache that is down answers that there is none.
    /// If that matters, ask the backend itself.
    ///
    /// # Errors
    ///
    /// As [`current`](Self::current).
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn existing(&self, namespace: &Keyspace) -> Result<Option<Generation>, CacheError> {
        let key = counter_key(namespace)?;
        let value = within(self.core.config.deadline, self.core.client.get(&key)).await;
        match self.core.told(GenerationsEvent::Read, value) {
            Ok(value) => Ok(match parse(&value)? {
                number @ FLOOR.. => Some(Generation::new(namespace, number)),
                // Another process is about to create it.
                _ => None,
            }),
            Err(CacheError::Miss) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Moves to a new generation, which makes all keys of older ones unreachable. Returns the new generation.
    ///
    /// # Errors
    ///
    /// As [`incr`](CacheClient::incr). After an error with an unknown [`outcome`](CacheError::outcome) the step may
    /// have been made. Another step does no harm.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the step may or may not have been made.
    pub async fn bump(&self, namespace: &Keyspace) -> Result<Generation, CacheError> {
        let key = counter_key(namespace)?;
        let space = self.core.near.space(&key);
        let bumped = within(self.core.config.deadline, self.core.add_one(&key)).await;
        space.forget();
        Ok(Generation::new(
            namespace,
            self.core.told(GenerationsEvent::Bumped, bumped)?,
        ))
    }
}

impl Core {
    /// Reports the result of a call: `done`, or that it failed.
    fn told<T>(&self, done: GenerationsEvent, result: Result<T, CacheError>) -> Result<T, CacheError> {
        self.config.listener.tell(&match &result {
            Ok(_) | Err(CacheError::Miss) => done,
            Err(error) => GenerationsEvent::Failed { error: error.clone() },
        });
        result
    }

    /// Reads once, in a task, for all callers that ask at the same time.
    async fn read_for_all(self: &Arc<Self>, key: &str, space: &Arc<Space>) -> Result<u64, CacheError> {
        loop {
            let reading = space.reading.join(|| {
                let (core, key, space) = (Arc::clone(self), key.to_owned(), Arc::clone(space));
                async move { core.read_and_keep(&key, &space).await }
            });
            if let Some(number) = reading.result().await {
                return number;
            }
        }
    }

    async fn read_and_keep(&self, key: &str, space: &Space) -> Result<u64, CacheError> {
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let (changes, sent) = (space.changes(), clock::now());
            // The deadline is needed here: if no caller waits any more, nothing else ends the read.
            let number = within(self.config.deadline, self.read(key)).await?;
            // A number that changed while it was read is read again.
            if space.keep(number, sent + self.config.near_life, changes) || tries == 0 {
                return Ok(number);
            }
        }
    }

    async fn read(&self, key: &str) -> Result<u64, CacheError> {
        for _ in 0..TRIES {
            match self.client.get_entry(key).await {
                Ok(entry) => match parse(&entry.value)? {
                    number @ FLOOR.. => return Ok(number),
                    // Another process adds to a counter that is absent, and has not created it yet, or died.
                    _ => {
                        if let Some(number) = self.begin(key, Some(&entry.value)).await? {
                            return Ok(number);
                        }
                    }
                },
                Err(CacheError::Miss) => {
                    if let Some(number) = self.begin(key, None).await? {
                        return Ok(number);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(unsettled())
    }

    async fn add_one(&self, key: &str) -> Result<u64, CacheError> {
        let mut lost_reply = false;
        for _ in 0..TRIES {
            let sum = match self.client.incr(key).await {
                Ok(sum) => u64::try_from(sum).unwrap_or(0),
                // One more step does no harm.
                Err(error) if error.outcome() == Outcome::Unknown && !lost_reply => {
                    lost_reply = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if sum >= FLOOR {
                return Ok(sum);
            }
            let found = Bytes::from(sum.to_string());
            if let Some(number) = self.begin(key, Some(&found)).await? {
                return Ok(number);
            }
        }
        Err(unsettled())
    }

    /// Starts again at a number that was not used before, in place of `found`. Returns `None` if `found` is no longer
    /// there.
    async fn begin(&self, key: &str, found: Option<&Bytes>) -> Result<Option<u64>, CacheError> {
        let millis = u64::try_from(self.config.clock.since_epoch().as_millis()).unwrap_or(0);
        // Works until the year 2248.
        let millis = millis.clamp(FLOOR >> RANDOM_BITS, (1 << (63 - RANDOM_BITS)) - 1);
        let number = millis << RANDOM_BITS | rand::rng().random_range(0..1 << RANDOM_BITS);
        let text = Bytes::from(number.to_string());
        let begun = match found {
            Some(found) => {
                let begun = self.client.compare_and_set(key, found, text, Ttl::Forever);
                begun.await?
            }
            None => self.client.set_if_absent(key, text, Ttl::Forever).await?,
        };
        if begun {
            self.config.listener.tell(&GenerationsEvent::Begun);
        }
        Ok(begun.then_some(number))
    }
}

/// The key of a namespace's counter. It does not depend on the namespace's generation.
fn counter_key(namespace: &Keyspace) -> Result<String, CacheError> {
    let prefix = namespace.generation(0).prefix();
    let key = prefix.strip_suffix("+0:").unwrap_or(&prefix).to_owned() + "#generation";
    check_key(&key)?;
    Ok(key)
}

fn parse(value: &[u8]) -> Result<u64, CacheError> {
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| CacheError::Corrupt {
        detail: "the counter of a generation is no integer; delete it to begin anew".into(),
        source: None,
    })
}

fn unsettled() -> CacheError {
    CacheError::Corrupt {
        detail: "the counter of a generation changes as often as it is looked at".into(),
        source: None,
    }
}
