//! What stands under a key, and how good it is now.

use std::time::Duration;

use bytes::Bytes;
use cache_core::Ttl;

use super::clock::millis;
use super::config::{ReadThroughConfig, RefreshAhead};
use super::envelope::{Content, Envelope};
use super::loaded::{Answer, Freshness};

/// What a read saw under a key.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Nothing,
    /// Somebody's load is under way, or was when somebody was killed.
    UnderWay(Bytes),
    /// Bytes of another version, or no envelope of this key at all.
    Foreign(Stored),
    Value(Value),
}

/// Bytes under a key, and how long they will stay there.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) raw: Bytes,
    pub(super) remaining: Ttl,
}

/// A value or "there is none", with its times.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) stored: Stored,
    value: Option<Bytes>,
    created_ms: u64,
    expires_ms: u64,
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

impl Found {
    pub(super) fn new(key: &str, raw: Bytes, remaining: Ttl) -> Self {
        let stored = Stored { raw, remaining };
        match Envelope::decode(key, &stored.raw) {
            None => Self::Foreign(stored),
            Some(Envelope {
                content: Content::UnderWay(_),
                ..
            }) => Self::UnderWay(stored.raw),
            Some(Envelope {
                content,
                created_ms,
                expires_ms,
            }) => Self::Value(Value {
                stored,
                value: match content {
                    Content::Value(value) => Some(value),
                    _ => None,
                },
                created_ms,
                expires_ms,
            }),
        }
    }

    /// The value, where it is fresh.
    pub(super) fn fresh(&self, config: &ReadThroughConfig) -> Option<&Value> {
        match self {
            Self::Value(value) => {
                let good = matches!(value.condition(config), Condition::Fresh | Condition::Ripe);
                good.then_some(value)
            }
            _ => None,
        }
    }

    /// The value, where it is no longer fresh but could be given instead of an error.
    pub(super) fn stale(&self, config: &ReadThroughConfig) -> Option<&Value> {
        match self {
            Self::Value(value) => (value.condition(config) == Condition::Stale).then_some(value),
            _ => None,
        }
    }
}

impl Value {
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

    pub(super) fn answer(&self, freshness: Freshness) -> Answer {
        Answer::new(self.value.clone(), freshness, self.created_ms)
    }
}
