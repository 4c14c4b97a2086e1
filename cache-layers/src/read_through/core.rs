//! What all calls and flights of one read-through share.

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

/// What is handed around: bytes, or a value behind an `Arc`.
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
    /// Keys whose stale value is given without another try.
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

    /// The result, with a failure of the cache noted; a miss is none.
    pub(super) fn noted<T>(&self, result: Result<T, CacheError>) -> Result<T, CacheError> {
        if let Err(error) = &result
            && !error.is_miss()
        {
            self.note(&ReadThroughEvent::CacheFailed { error: error.clone() });
        }
        result
    }

    /// A budget that nothing was spent of.
    pub(super) fn budget(&self) -> Budget {
        Budget::new(self.config.cache_deadline)
    }

    /// The near tier, where there is one and something read now may be kept in it, and the period in which that is so.
    pub(super) fn open_near(&self) -> Option<(&Arc<NearTier<V>>, Period)> {
        let tier = self.near.as_ref()?;
        // Before the status: the other way round, it could be a later period than that of the status.
        let period = tier.near.period();
        tier.is_open().then_some((tier, period))
    }

    /// To be held while one of `keys` is written.
    pub(super) fn writing<'a>(&'a self, keys: &'a [&'a str]) -> Option<Written<'a, V>> {
        self.near.as_deref().map(|tier| tier.writing(keys))
    }

    /// What stands under `key`, tracked where the client tracks, and how long it will. Kept near where there
    /// is a near tier.
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

    /// The value under `key` by way of the near tier: one far read for all who want it now, which is kept.
    /// What is no value is a miss. `None` where nothing may be kept, and the caller reads for itself.
    pub(super) async fn read_near(
        self: &Arc<Self>,
        tier: &Arc<NearTier<V>>,
        key: &str,
        budget: &mut Budget,
    ) -> Result<Option<Known<V>>, CacheError> {
        let counts = tier.near.counts();
        loop {
            // Asked first: who comes after a time in which changes were not reported joins no read of it.
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

    /// Reads the key of `mark`, and keeps what may be kept. It belongs to all who want the key; each of them waits
    /// within a budget of its own.
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

    /// What an entry is.
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

    /// The entry for what was loaded, and how long it stays; `None` where it is not to be stored.
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

    /// As [`entry`](Self::entry); `Ok(None)` where it lives for no time.
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

    /// Stores a value that the caller knows, whatever is there.
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

    /// Deletes values, and then their leases: what failed before says nothing about what comes now.
    ///
    /// The values decide about the result. A lease that cannot be deleted expires.
    pub(super) async fn invalidate(&self, keys: &[&str]) -> Result<(), CacheError> {
        keys.iter().try_for_each(|key| check(key))?;
        keys.iter().for_each(|key| self.forget(key));
        let leases = keys.iter().flat_map(|key| [lease_key(key), hold_key(key)]);
        let leases: Vec<String> = leases.collect();
        let leases: Vec<&str> = leases.iter().map(String::as_str).collect();
        let _written = self.writing(keys);
        // Asked for in this order, and without a round trip more than the values alone take.
        let mut budget = self.budget();
        let leases = budget.spend(self.client.del(&leases));
        let (values, leases) = futures::join!(self.client.del(keys), leases);
        let _expire = self.noted(leases);
        values.map(drop)
    }

    /// What this process knows about a key is over.
    fn forget(&self, key: &str) {
        self.flights.detach(key);
        self.load_holds.release(key);
        self.refresh_holds.release(key);
    }
}

/// A key that leaves room for its lease's.
pub(super) fn check(key: &str) -> Result<(), CacheError> {
    check_room(key, WORD.len())
}

/// Why a value cannot be stored.
pub(super) enum Unstorable {
    Encoding(CacheError),
    /// It is so many bytes long.
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
