//! Counters of a layer that encrypts.

use crate::metrics::Tally;

/// Why a stored value was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unreadable {
    /// It is not sealed, or not in the configured form.
    NotSealed,
    /// It has the mark of the configured form, but no ciphertext after it.
    Malformed,
    /// It was sealed with a key that is not among the enabled keys of the keyset.
    UnknownKey,
    /// It was changed, or sealed for another key of the cache, or with another key of the same id.
    Refused,
}

impl Unreadable {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::NotSealed, Self::Malformed, Self::UnknownKey, Self::Refused];

    /// A short, stable name, for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotSealed => "not_sealed",
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::Refused => "refused",
        }
    }
}

/// Counters of events since the layer was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncryptedStats {
    /// Values that were sealed.
    pub sealed: u64,
    /// Values that were opened.
    pub opened: u64,
    /// Values that were read although they are not encrypted. Counters are not among them.
    pub plaintext: u64,
    /// Stored values that were a miss, because they are [not sealed](Unreadable::NotSealed).
    pub not_sealed: u64,
    /// Stored values that were a miss, because they are [malformed](Unreadable::Malformed).
    pub malformed: u64,
    /// Stored values that were a miss, because their [key is unknown](Unreadable::UnknownKey).
    pub unknown_key: u64,
    /// Stored values that were a miss, because they were [refused](Unreadable::Refused).
    pub refused: u64,
    /// Stored values that no instance can open and that were removed.
    pub removed: u64,
}

impl EncryptedStats {
    /// Stored values that were a miss for this reason.
    #[must_use]
    pub const fn unreadable(&self, reason: Unreadable) -> u64 {
        match reason {
            Unreadable::NotSealed => self.not_sealed,
            Unreadable::Malformed => self.malformed,
            Unreadable::UnknownKey => self.unknown_key,
            Unreadable::Refused => self.refused,
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Count {
    Sealed,
    Opened,
    Plaintext,
    Removed,
    Unreadable(Unreadable),
}

impl Count {
    const fn place(self) -> usize {
        match self {
            Self::Sealed => 0,
            Self::Opened => 1,
            Self::Plaintext => 2,
            Self::Removed => 3,
            Self::Unreadable(Unreadable::NotSealed) => 4,
            Self::Unreadable(Unreadable::Malformed) => 5,
            Self::Unreadable(Unreadable::UnknownKey) => 6,
            Self::Unreadable(Unreadable::Refused) => 7,
        }
    }
}

/// The counters behind [`EncryptedStats`].
#[derive(Debug, Default)]
pub(super) struct Counts(Tally<8>);

impl Counts {
    #[inline]
    pub(super) fn add(&self, count: Count) {
        self.0.add(count.place(), 1);
    }

    pub(super) fn stats(&self) -> EncryptedStats {
        let sum = |count: Count| self.0.sum(count.place());
        let unreadable = |reason| sum(Count::Unreadable(reason));
        EncryptedStats {
            sealed: sum(Count::Sealed),
            opened: sum(Count::Opened),
            plaintext: sum(Count::Plaintext),
            not_sealed: unreadable(Unreadable::NotSealed),
            malformed: unreadable(Unreadable::Malformed),
            unknown_key: unreadable(Unreadable::UnknownKey),
            refused: unreadable(Unreadable::Refused),
            removed: sum(Count::Removed),
        }
    }
}
