//! What all calls and flights of one read-through share.

use std::sync::Arc;

use cache_core::{CacheClient, CacheError, Ttl};

use super::budget::Budget;
use super::clock::millis;
use super::config::ReadThroughConfig;
use super::envelope::{Content, Envelope};
use super::events::{Counters, ReadThroughEvent};
use super::flights::Flights;
use super::found::Found;
use super::holds::Holds;
use super::loaded::Loaded;
use super::wakes::Wakes;

#[derive(Debug)]
pub(super) struct Core {
    pub(super) client: Arc<dyn CacheClient>,
    pub(super) config: ReadThroughConfig,
    pub(super) flights: Arc<Flights>,
    pub(super) wakes: Wakes,
    /// Keys whose stale value is given without another try.
    pub(super) load_holds: Holds,
    /// Keys whose fresh value is not refreshed for a while.
    pub(super) refresh_holds: Holds,
    pub(super) counters: Counters,
}

impl Core {
    pub(super) fn new(client: Arc<dyn CacheClient>, config: ReadThroughConfig) -> Arc<Self> {
        Arc::new(Self {
            wakes: Wakes::new(&client),
            client,
            config,
            flights: Flights::new(),
            load_holds: Holds::default(),
            refresh_holds: Holds::default(),
            counters: Counters::default(),
        })
    }

    pub(super) fn note(&self, event: &ReadThroughEvent) {
        self.counters.count(event);
        if let Some(listener) = &self.config.listener {
            listener.on_event(event);
        }
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

    /// What stands under `key`, tracked where the client tracks, and how long it will.
    pub(super) async fn read_entry(&self, key: &str, budget: &mut Budget) -> Result<Found, CacheError> {
        match self.noted(budget.spend(self.client.get_entry(key)).await) {
            Ok(entry) => Ok(Found::new(key, entry.value, entry.remaining)),
            Err(CacheError::Miss) => Ok(Found::Nothing),
            Err(error) => Err(error),
        }
    }

    /// The entry for what was loaded, and how long it stays; `None` where it is not to be stored.
    pub(super) fn entry(&self, key: &str, loaded: &Loaded, created_ms: u64) -> Option<(bytes::Bytes, Ttl)> {
        let config = &self.config;
        let size = loaded.value.as_ref().map_or(0, bytes::Bytes::len);
        if size > config.max_payload {
            self.note(&ReadThroughEvent::Oversize { bytes: size });
            return None;
        }
        let now = config.clock.since_epoch();
        let promised = loaded.life(now, config.life, config.negative_life);
        let life = config.jittered(promised, rand::random());
        if millis(life) == 0 {
            return None;
        }
        let envelope = Envelope {
            content: loaded.value.clone().map_or(Content::Absent, Content::Value),
            created_ms,
            expires_ms: millis(now.saturating_add(life)),
        };
        let stays = match loaded.value {
            Some(_) => life + config.stale_limit,
            None => life,
        };
        Some((envelope.encode(key)?, Ttl::After(stays)))
    }
}
