//! What is stored under a key, and how fresh it is.

use std::time::Duration;

use bytes::Bytes;
use cache_core::{Ttl, Vouch};

use super::clock::millis;
use super::config::{ReadThroughConfig, RefreshAhead};
use super::loaded::{Answer, Freshness};

/// What a read found under a key.
#[derive(Clone)]
pub(super) enum Found<V> {
    Nothing,
    /// Another load is in progress, or its process was killed.
    UnderWay(Stored),
    /// Bytes of another version, an envelope of another key, or a value that cannot be decoded.
    Foreign(Stored),
    Value(Stored, Known<V>),
}

/// Bytes under a key, and their remaining TTL.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) raw: Bytes,
    pub(super) remaining: Ttl,
    /// Whether a change will be reported.
    pub(super) tracked: bool,
    pub(super) vouch: Option<Vouch>,
}

/// A value or "there is none", with its times.
#[derive(Clone)]
pub(super) struct Known<V> {
    pub(super) value: Option<V>,
    pub(super) created_ms: u64,
    pub(super) expires_ms: u64,
    /// The length of its envelope, in bytes.
    pub(super) size: usize,
}

/// How fresh a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Fresh,
    /// Fresh, but old enough for a refresh.
    Ripe,
    /// Expired, but within the stale limit.
    Stale,
    Dead,
}

impl<V> Found<V> {
    /// Returns the value if it is fresh.
    pub(super) fn fresh(&self, config: &ReadThroughConfig) -> Option<&Known<V>> {
        let is_fresh =
            |known: &&Known<V>| matches!(known.condition(config), Condition::Fresh | Condition::Ripe);
        self.known().filter(is_fresh)
    }

    /// Returns the value if it has expired but may be returned instead of an error.
    pub(super) fn stale(&self, config: &ReadThroughConfig) -> Option<&Known<V>> {
        self.known()
            .filter(|known| known.condition(config) == Condition::Stale)
    }

    /// Whether this is the entry that was seen, as far as its times and its length can tell.
    pub(super) fn is_entry_of(&self, seen: &Known<V>) -> bool {
        let marks = |known: &Known<V>| {
            (
                known.created_ms,
                known.expires_ms,
                known.size,
                known.is_negative(),
            )
        };
        self.known().is_some_and(|known| marks(known) == marks(seen))
    }

    /// Whether a change of what was found will be reported. `false` for a miss, which does not say.
    pub(super) const fn is_tracked(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::UnderWay(stored) | Self::Foreign(stored) | Self::Value(stored, _) => stored.tracked,
        }
    }

    const fn known(&self) -> Option<&Known<V>> {
        match self {
            Self::Value(_, known) => Some(known),
            _ => None,
        }
    }
}

impl<V> Known<V> {
    pub(super) fn condition(&self, config: &ReadThroughConfig) -> Condition {
        let now = millis(config.clock.since_epoch());
        if now < self.expires_ms {
            if now >= self.ripe_ms(config.refresh_ahead) {
                Condition::Ripe
            } else {
                Condition::Fresh
            }
        } else if self.value.is_some() && now - self.expires_ms < millis(config.stale_limit) {
            Condition::Stale
        } else {
            Condition::Dead
        }
    }

    /// When its refresh is due.
    fn ripe_ms(&self, refresh_ahead: RefreshAhead) -> u64 {
        let life = Duration::from_millis(self.expires_ms.saturating_sub(self.created_ms));
        match refresh_ahead {
            RefreshAhead::Never => u64::MAX,
            RefreshAhead::AtFraction(part) => self.created_ms.saturating_add(millis(life.mul_f64(part))),
            RefreshAhead::Before(time) if time >= life => u64::MAX,
            RefreshAhead::Before(time) => self.expires_ms.saturating_sub(millis(time)),
        }
    }

    pub(super) const fn is_negative(&self) -> bool {
        self.value.is_none()
    }

    pub(super) fn answer(&self, freshness: Freshness) -> Answer<V>
    where
        V: Clone,
    {
        Answer::new(self.value.clone(), freshness, self.created_ms)
    }
}
