//! One call, and all old keys of a namespace are out of reach.
//!
//! In here: [`Generations`] and what it promises. Where the generation stands in a key is
//! [`Keyspace::generation`]'s business. Not in here: removing the old keys, which go with their lives, or by a
//! purge of their pattern.
//!
//! # What is promised
//!
//! - **One step for all.** [`bump`](Generations::bump) is one atomic addition, however many keys there are.
//!   Who builds keys from the new generation never finds a value of an old one.
//! - **A bound on not noticing.** A process that reads [`current`](Generations::current) notices a bump within
//!   [`near_life`](GenerationsConfigBuilder::near_life), counted from the moment it last began to ask, and
//!   what its last question takes. Where the client reports changes it notices at once; the bound holds
//!   all the same, so a report that is lost costs no more than the bound. A client that reads from replicas, or
//!   keeps values near, adds what these lag behind.
//! - **Never back.** A counter that is missing (evicted, flushed, purged, lost by a failover) begins anew at a
//!   number that was not used before: the time of day in milliseconds and 20 random bits. All keys of
//!   the namespace are then misses.
//! - **A deadline.** No call waits for the cache for longer than
//!   [`deadline`](GenerationsConfigBuilder::deadline), however many ask, and no caller waits for another one.
//! - **No guessing.** Where the cache cannot say which generation it is, the answer is an error, not the last
//!   one known.
//!
//! A bump that the primary confirmed and then lost in a failover is lost for all: keys of the old generation can
//! be reached again. Bump again after a failover where that matters.
//!
//! # In the cache
//!
//! At the namespace's prefix and `#generation`, an integer that lives for ever; of a tenant's keyspace in
//! the tenant's slot. It is no key of a keyspace. The namespace's own pattern covers it.
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

/// How often a counter is looked at that somebody else makes or changes at the same moment.
const TRIES: u32 = 5;
/// The random bits of a number that is made anew.
const RANDOM_BITS: u32 = 20;
/// No number that was made is smaller: it stands for a quarter of an hour after the beginning of 1970.
const FLOOR: u64 = 1 << 40;

/// The generations of namespaces. See the [module](self) for what is promised.
///
/// Cheap to clone; clones share what they have read.
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

/// A namespace in a generation of its own.
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

    /// Its number. Later ones are greater, as long as the counter is not lost; there may be gaps.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The keyspace that makes its keys.
    #[must_use]
    pub const fn keys(&self) -> &Keyspace {
        &self.keys
    }

    /// The keyspace of the generation before, whose [`pattern_all`](Keyspace::pattern_all) a purge after a
    /// [`bump`](Generations::bump) takes. Where the counter had been lost there was no such generation, and
    /// the pattern matches nothing: those keys go with their lives.
    #[must_use]
    pub fn previous(&self) -> Keyspace {
        self.keys.generation(self.number.saturating_sub(1))
    }
}

impl Generations {
    /// Generations whose counters are kept by `client`.
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

    /// The client that it stands on.
    #[must_use]
    pub fn client(&self) -> &Arc<dyn CacheClient> {
        &self.core.client
    }

    /// `namespace` in its present generation; a generation that it has already is put aside.
    ///
    /// # Errors
    ///
    /// As [`get_entry`](CacheClient::get_entry); [`CacheError::Timeout`] after
    /// [`deadline`](GenerationsConfigBuilder::deadline); [`CacheError::Corrupt`] where something else stands at the
    /// counter's place. Callers who ask at the same time share one read, and its error.
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

    /// `namespace` in its present generation, asked of the cache anew; `None` where it has none so far. Unlike
    /// [`current`](Self::current), this begins none.
    ///
    /// A client that [bypasses](crate::guarded::OnFailure::Bypass) a cache that is down answers that there is none:
    /// ask the backend itself where that matters.
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
                // Somebody is about to begin.
                _ => None,
            }),
            Err(CacheError::Miss) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Steps to a new generation: all keys of the old ones are out of reach. The new one.
    ///
    /// # Errors
    ///
    /// As [`incr`](CacheClient::incr). After an error whose [`outcome`](CacheError::outcome) is unknown the
    /// step may have been made; to make another does no harm.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the step may or may not have been made.
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
    /// The result of a call, reported: `done`, or that it failed.
    fn told<T>(&self, done: GenerationsEvent, result: Result<T, CacheError>) -> Result<T, CacheError> {
        self.config.listener.tell(&match &result {
            Ok(_) | Err(CacheError::Miss) => done,
            Err(error) => GenerationsEvent::Failed { error: error.clone() },
        });
        result
    }

    /// Reads once for all who ask at the same time, in a task.
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
            // Nobody may wait for it any more, and then nobody else ends it.
            let number = within(self.config.deadline, self.read(key)).await?;
            // One that changed while it was read is read again.
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
                    // Somebody adds to a counter that is not there, and has not made it yet, or died.
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
                // One step more does no harm.
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

    /// Begins anew, at a number that was not used before, in place of what was found; `None` where that is
    /// no longer there.
    async fn begin(&self, key: &str, found: Option<&Bytes>) -> Result<Option<u64>, CacheError> {
        let millis = u64::try_from(self.config.clock.since_epoch().as_millis()).unwrap_or(0);
        // Until the year 2248.
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

/// Where the counter of a namespace is, whichever generation the namespace has been given.
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
