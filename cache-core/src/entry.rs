//! A value together with what is left of its life.

use bytes::Bytes;

use crate::Ttl;

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
}

impl Entry {
    /// An entry that its backend does not track.
    #[must_use]
    pub const fn untracked(value: Bytes, remaining: Ttl) -> Self {
        Self {
            value,
            remaining,
            tracked: false,
        }
    }

    /// An entry whose changes its backend reports.
    #[must_use]
    pub const fn tracked(value: Bytes, remaining: Ttl) -> Self {
        Self {
            value,
            remaining,
            tracked: true,
        }
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
