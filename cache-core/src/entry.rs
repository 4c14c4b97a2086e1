//! A value with its remaining TTL, and a key that does not exist.

use bytes::Bytes;

use crate::{CacheError, Ttl, Vouch};

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

/// The result of [`CacheClient::get_entries`](crate::CacheClient::get_entries) for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The key exists.
    Found(Entry),
    /// The key does not exist, or has expired.
    Absent(Absence),
}

/// A key that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Absence {
    /// Whether the backend will report through [`invalidations`](crate::CacheClient::invalidations) that the
    /// key was created. A near cache (L1) keeps only a tracked absence.
    pub tracked: bool,
    /// As [`Entry::vouch`].
    pub vouch: Option<Vouch>,
}

impl Lookup {
    /// A missing key whose creation the backend does not report.
    #[must_use]
    pub const fn untracked_absence() -> Self {
        Self::Absent(Absence {
            tracked: false,
            vouch: None,
        })
    }

    /// A missing key whose creation the backend reports.
    #[must_use]
    pub const fn tracked_absence() -> Self {
        Self::Absent(Absence {
            tracked: true,
            vouch: None,
        })
    }

    /// The same result, tracked as long as `vouch` holds.
    #[must_use]
    pub fn vouched(self, vouch: Vouch) -> Self {
        match self {
            Self::Found(entry) => Self::Found(entry.vouched(vouch)),
            Self::Absent(_) => Self::Absent(Absence {
                tracked: true,
                vouch: Some(vouch),
            }),
        }
    }

    /// The entry, as [`get_entry`](crate::CacheClient::get_entry) returns it.
    ///
    /// # Errors
    ///
    /// [`CacheError::Miss`] if the key does not exist.
    pub fn into_entry(self) -> Result<Entry, CacheError> {
        match self {
            Self::Found(entry) => Ok(entry),
            Self::Absent(_) => Err(CacheError::Miss),
        }
    }

    /// The lookup that a `get_entry` with this result amounts to. It knows of no tracked absence.
    ///
    /// # Errors
    ///
    /// The error of `entry`, except [`CacheError::Miss`].
    pub fn of_entry(entry: Result<Entry, CacheError>) -> Result<Self, CacheError> {
        match entry {
            Ok(entry) => Ok(Self::Found(entry)),
            Err(CacheError::Miss) => Ok(Self::untracked_absence()),
            Err(error) => Err(error),
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
