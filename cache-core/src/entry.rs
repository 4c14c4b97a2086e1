//! A value with its remaining TTL.

use bytes::Bytes;

use crate::{Ttl, Vouch};

/// The result of [`CacheClient::get_entry`](crate::CacheClient::get_entry).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The stored bytes.
    pub value: Bytes,
    /// The remaining TTL.
    pub remaining: Ttl,
    /// Whether the backend will report a change of this key through
    /// [`invalidations`](crate::CacheClient::invalidations). A near cache (L1) keeps an untracked entry only
    /// for a short TTL.
    pub tracked: bool,
    /// How long the tracking is reliable, if the backend reports that per entry. Without it a tracked entry
    /// is reliable until [`ConnectionLost`](crate::Invalidation::ConnectionLost).
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

    /// The same entry, tracked as long as `vouch` holds.
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
