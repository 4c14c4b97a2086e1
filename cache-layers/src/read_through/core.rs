//! The state that all calls and flights of one read-through share.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use cache_core::{CacheClient, CacheError, Entry, Ttl};

use super::budget::Budget;
use super::clock::millis;
use super::codec::Form;
use super::config::ReadThroughConfig;
use super::envelope::{Content, Envelope};
use super::events::{Counters, ReadThroughEvent};
use super::flights::Flights;
use super::found::{Found, Known, Stored};
use super::holds::Holds;
use super::lease::{WORD, hold_key, lease_key};
use super::loaded::Loaded;
use super::near::{NearTier, Written};
use crate::beside::check_room;
use crate::near::{Boarding, Count, FarRead, Found as NearFound, Mark, Period, kept_above};
use crate::wakes::Wakes;

/// What is passed around: bytes, or a value behind an `Arc`.
pub(super) trait Payload: Clone + Send + Sync + 'static {}

impl<V: Clone + Send + Sync + 'static> Payload for V {}

pub(super) struct Core<V: Payload> {
    pub(super) client: Arc<dyn CacheClient>,
    pub(super) config: ReadThroughConfig,
    form: Box<dyn Form<V>>,
    /// Where decoded values are kept.
    pub(super) near: Option<Arc<NearTier<V>>>,
    pub(super) flights: Arc<Flights<V>>,
    pub(super) wakes: Wakes,
    /// Keys whose stale value is returned without another try.
    pub(super) load_holds: Holds,
    /// Keys whose fresh value is not refreshed for a while.
    pub(super) refresh_holds: Holds,
    pub(super) counters: Counters,
}

impl<V: Payload> Core<V> {
    pub(super) fn new(
        client: Arc<dyn CacheClient>,
        config: ReadThroughConfig,
        form: Box<dyn Form<V>>,
        near: Option<Arc<NearTier<V>>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            near,
            wakes: Wakes::new(Arc::clone(&client)),
            client,
            config,
            form,
            flights: Flights::new(),
            load_holds: Holds::default(),
            refresh_holds: Holds::default(),
            counters: Counters::default(),
        })
    }

    pub(super) fn note(&self, event: &ReadThroughEvent) {
        self.counters.count(event);
        self.config.listener.tell(event);
    }

    /// Returns the result, and reports a failure of the cache. A miss is not a failure.
    pub(super) fn noted<T>(&self, result: Result<T, CacheError>) -> Result<T, CacheError> {
        if let Err(error) = &result
            && !error.is_miss()
        {
            self.note(&ReadThroughEvent::CacheFailed { error: error.clone() });
        }
        result
    }

    /// A full budget.
    pub(super) fn budget(&self) -> Budget {
        Budget::new(self.config.cache_deadline)
    }

    /// Returns the near cache and its current period, if there is a near cache and a value that is read now may be
    /// kept.
    pub(super) fn open_near(&self) -> Option<(&Arc<NearTier<V>>, Period)> {
        let tier = self.near.as_ref()?;
        // Before the status: in the other order it could be a later period than that of the status.
        let period = tier.near.period();
        tier.is_open().then_some((tier, period))
    }

    /// Hold the result while one of `keys` is written.
    pub(super) fn writing<'a>(&'a self, keys: &'a [&'a str]) -> Option<Written<'a, V>> {
        self.near.as_deref().map(|tier| tier.writing(keys))
    }

    /// Reads what is stored under `key`, and its remaining TTL. The read is tracked if the client tracks. The result
    /// is kept near if there is a near cache.
    pub(super) async fn read_entry(&self, key: &str, budget: &mut Budget) -> Result<Found<V>, CacheError> {
        let near = self.open_near();
        let near = near.and_then(|(tier, period)| Some((tier, tier.near.begin(key, period)?)));
        let read = self.client.get_entry(key);
        let read = match &near {
            Some(_) => budget.spend(kept_above(read)).await,
            None => budget.spend(read).await,
        };
        let entry = match self.noted(read) {
            Ok(entry) => entry,
            Err(CacheError::Miss) => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        let found = self.found(key, entry);
        if let Some((tier, mark)) = near
            && let Found::Value(stored, known) = &found
            && let Some(keep) = tier.keep(key, stored, known)
        {
            mark.complete(keep);
        }
        Ok(found)
    }

    /// Reads the value of `key` by way of the near cache: one far read, whose result is kept, for all callers that
    /// want it now. Anything that is not a value is a miss. Returns `None` if nothing may be kept; the caller then
    /// reads for itself.
    pub(super) async fn read_near(
        self: &Arc<Self>,
        tier: &Arc<NearTier<V>>,
        key: &str,
        budget: &mut Budget,
    ) -> Result<Option<Known<V>>, CacheError> {
        let counts = tier.near.counts();
        loop {
            // Read first, so that a caller after a period without reports joins no read of that period.
            let period = tier.near.period();
            if !tier.is_open() {
                counts.add(Count::Miss, 1);
                return Ok(None);
            }
            match tier.near.board(key, period, |mark| self.far_read(tier, mark)) {
                Boarding::Late => {}
                Boarding::Hit(found) => {
                    counts.add(Count::Hit, 1);
                    return Ok(Some(found.value));
                }
                Boarding::Joined(read) => {
                    let found = budget.spend(read).await?;
                    counts.add(Count::Joined, 1);
                    return Ok(Some(found.value));
                }
                Boarding::Led(read) => {
                    counts.add(Count::Miss, 1);
                    let found = self.noted(budget.spend(read).await)?;
                    return Ok(Some(found.value));
                }
            }
        }
    }

    /// Reads the key of `mark`, and keeps what may be kept. All callers that want the key share the read. Each of
    /// them waits within its own budget.
    fn far_read(self: &Arc<Self>, tier: &Arc<NearTier<V>>, mark: Mark<Known<V>>) -> FarRead<Known<V>> {
        let (core, tier) = (Arc::clone(self), Arc::clone(tier));
        Box::pin(async move {
            let key = mark.key();
            let read = kept_above(core.client.get_entry(&key)).await;
            let (answer, keep) = match read.map(|entry| core.found(&key, entry)) {
                Ok(Found::Value(stored, known)) => {
                    let keep = tier.keep(&key, &stored, &known);
                    let found = NearFound {
                        value: known,
                        remaining: stored.remaining,
                        tracked: stored.tracked,
                        vouch: stored.vouch,
                    };
                    (Ok(found), keep)
                }
                Ok(_) => (Err(CacheError::Miss), None),
                Err(error) => (Err(error), None),
            };
            mark.land(keep);
            answer
        })
    }

    /// Classifies an entry.
    pub(super) fn found(&self, key: &str, entry: Entry) -> Found<V> {
        let stored = Stored {
            raw: entry.value,
            remaining: entry.remaining,
            tracked: entry.tracked,
            vouch: entry.vouch,
        };
        let Some(envelope) = Envelope::decode(key, &stored.raw) else {
            return Found::Foreign(stored);
        };
        let value = match envelope.content {
            Content::UnderWay(_) => return Found::UnderWay(stored),
            Content::Absent => None,
            Content::Value(bytes) => match self.form.decode(bytes) {
                Ok(value) => Some(value),
                Err(error) => {
                    self.note(&ReadThroughEvent::Undecodable { error });
                    return Found::Foreign(stored);
                }
            },
        };
        let known = Known {
            value,
            created_ms: envelope.created_ms,
            expires_ms: envelope.expires_ms,
            size: stored.raw.len(),
        };
        Found::Value(stored, known)
    }

    /// Returns the entry for a loaded value, and its TTL. Returns `None` if it is not to be stored.
    pub(super) fn entry(&self, key: &str, loaded: &Loaded<V>, created_ms: u64) -> Option<(Bytes, Ttl)> {
        match self.try_entry(key, loaded, created_ms) {
            Ok(entry) => entry,
            Err(Unstorable::Encoding(error)) => {
                self.note(&ReadThroughEvent::Unencodable { error });
                None
            }
            Err(Unstorable::Size(bytes)) => {
                self.note(&ReadThroughEvent::Oversize { bytes });
                None
            }
        }
    }

    /// As [`entry`](Self::entry). Returns `Ok(None)` if its TTL is zero.
    pub(super) fn try_entry(
        &self,
        key: &str,
        loaded: &Loaded<V>,
        created_ms: u64,
    ) -> Result<Option<(Bytes, Ttl)>, Unstorable> {
        let config = &self.config;
        let value = loaded.value.as_ref().map(|value| self.form.encode(value));
        let value = value.transpose().map_err(Unstorable::Encoding)?;
        let size = value.as_ref().map_or(0, Bytes::len);
        if size > config.max_payload {
            return Err(Unstorable::Size(size));
        }
        let now = config.clock.since_epoch();
        let promised = loaded.life(now, config.life, config.negative_life);
        let life = config.jittered(promised, rand::random());
        if millis(life) == 0 {
            return Ok(None);
        }
        let stays = match value {
            Some(_) => life + config.stale_limit,
            None => life,
        };
        let envelope = Envelope {
            content: value.map_or(Content::Absent, Content::Value),
            created_ms,
            expires_ms: millis(now.saturating_add(life)),
        };
        let entry = envelope.encode(key).ok_or(Unstorable::Size(size))?;
        Ok(Some((entry, Ttl::After(stays))))
    }

    /// Stores a value that the caller knows, and replaces any entry.
    pub(super) async fn put(&self, key: &str, loaded: &Loaded<V>) -> Result<(), CacheError> {
        check(key)?;
        let created_ms = millis(self.config.clock.since_epoch());
        let entry = self
            .try_entry(key, loaded, created_ms)
            .map_err(|reason| match reason {
                Unstorable::Encoding(error) => error,
                Unstorable::Size(size) => CacheError::InvalidInput {
                    argument: "value",
                    reason: format!(
                        "{size} bytes long; at most {} are stored",
                        self.config.max_payload
                    )
                    .into(),
                },
            })?;
        let Some((entry, life)) = entry else {
            return self.invalidate(&[key]).await;
        };
        self.forget(key);
        let keys = [key];
        let _written = self.writing(&keys);
        self.client.set(key, entry, life).await
    }

    /// Deletes values, and then their leases: an earlier failure means nothing for the next load.
    ///
    /// The values decide the result. A lease that cannot be deleted expires.
    pub(super) async fn invalidate(&self, keys: &[&str]) -> Result<(), CacheError> {
        keys.iter().try_for_each(|key| check(key))?;
        keys.iter().for_each(|key| self.forget(key));
        let leases = keys.iter().flat_map(|key| [lease_key(key), hold_key(key)]);
        let leases: Vec<String> = leases.collect();
        let leases: Vec<&str> = leases.iter().map(String::as_str).collect();
        let _written = self.writing(keys);
        // Sent in this order, and without a round trip more than the values alone take.
        let mut budget = self.budget();
        let leases = budget.spend(self.client.del(&leases));
        let (values, leases) = futures::join!(self.client.del(keys), leases);
        let _expire = self.noted(leases);
        values.map(drop)
    }

    /// Forgets what this process knows about a key.
    fn forget(&self, key: &str) {
        self.flights.detach(key);
        self.load_holds.release(key);
        self.refresh_holds.release(key);
    }
}

/// Checks that a key leaves room for the key of its lease.
pub(super) fn check(key: &str) -> Result<(), CacheError> {
    check_room(key, WORD.len())
}

/// Why a value cannot be stored.
pub(super) enum Unstorable {
    Encoding(CacheError),
    /// It has this many bytes.
    Size(usize),
}

/// Shows no value.
impl<V: Payload> fmt::Debug for Core<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("client", &self.client)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
