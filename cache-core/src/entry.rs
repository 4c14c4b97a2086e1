//! A value together with what is left of its life.

use bytes::Bytes;

use crate::{Ttl, Vouch};

/// What [`CacheClient::get_entry`](crate::CacheClient::get_entry) answers.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The stored bytes.
    pub value: Bytes,
    /// What is left of the entry's life.
    pub remaining: Ttl,
    /// Whether the backend will report a change of this key through
    /// [`invalidations`](crate::CacheClient::invalidations). Only a tracked entry may be kept near
    /// for longer than a short life.
    pub tracked: bool,
    /// How long that can be relied upon, if the backend says so for each entry. Without it a tracked entry is good
    /// until [`ConnectionLost`](crate::Invalidation::ConnectionLost).
    pub vouch: Option<Vouch>,
}

impl Entry {
    /// An entry that its backend does not track.
    #[must_use]
    pub const fn untracked(value: Bytes, remaining: Ttl) -> Self {
        Self {
            value,
            remaining,
            tracked: false,
            vouch: None,
        }
    }

    /// An entry whose changes its backend reports.
    #[must_use]
    pub const fn tracked(value: Bytes, remaining: Ttl) -> Self {
        Self {
            value,
            remaining,
            tracked: true,
            vouch: None,
        }
    }

    /// The same entry, tracked for as long as `vouch` holds.
    #[must_use]
    pub const fn vouched(mut self, vouch: Vouch) -> Self {
        self.tracked = true;
        self.vouch = Some(vouch);
        self
    }
}

impl std::fmt::Debug for Entry {
    /// Shows the length of the value, never the value.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("len", &self.value.len())
            .field("remaining", &self.remaining)
            .field("tracked", &self.tracked)
            .finish()
    }
}
