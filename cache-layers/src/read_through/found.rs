//! What stands under a key, and how good it is now.

use std::time::Duration;

use bytes::Bytes;
use cache_core::{Ttl, Vouch};

use super::clock::millis;
use super::config::{ReadThroughConfig, RefreshAhead};
use super::loaded::{Answer, Freshness};

/// What a read saw under a key.
#[derive(Clone)]
pub(super) enum Found<V> {
    Nothing,
    /// Somebody's load is under way, or was when somebody was killed.
    UnderWay(Stored),
    /// Bytes of another version, no envelope of this key, or no value that can be decoded.
    Foreign(Stored),
    Value(Stored, Known<V>),
}

/// Bytes under a key, and how long they will stay there.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) raw: Bytes,
    pub(super) remaining: Ttl,
    /// Whether a change will be heard of.
    pub(super) tracked: bool,
    pub(super) vouch: Option<Vouch>,
}

/// A value or "there is none", with its times.
#[derive(Clone)]
pub(super) struct Known<V> {
    pub(super) value: Option<V>,
    pub(super) created_ms: u64,
    pub(super) expires_ms: u64,
    /// How long its envelope is, in bytes.
    pub(super) size: usize,
}

/// How good a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Fresh,
    /// Fresh, and at an age at which it should be loaded anew.
    Ripe,
    /// Beyond its life, within the stale limit.
    Stale,
    Dead,
}

impl<V> Found<V> {
    /// The value, where it is fresh.
    pub(super) fn fresh(&self, config: &ReadThroughConfig) -> Option<&Known<V>> {
        let is_fresh =
            |known: &&Known<V>| matches!(known.condition(config), Condition::Fresh | Condition::Ripe);
        self.known().filter(is_fresh)
    }

    /// The value, where it is no longer fresh but could be given instead of an error.
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

    /// Whether a change of what was seen will be heard of. Of nothing it is not known: a miss does not say.
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

    /// From when on it should be loaded anew.
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
