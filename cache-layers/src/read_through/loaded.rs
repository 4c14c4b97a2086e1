//! What a loader returns, and what its callers get.
//!
//! Not in here: how it is stored (`envelope.rs`).

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

/// What a loader found, and for how long it may be used.
///
/// ```
/// use std::time::Duration;
/// use cache_layers::Loaded;
///
/// let token = Loaded::new("s3cr3t").living(Duration::from_secs(3_600));
/// let nobody: Loaded = Loaded::absent();
/// let seats = Loaded::of(12_u32);
/// # let _ = (token, nobody, seats);
/// ```
#[derive(Clone)]
#[must_use]
pub struct Loaded<V = Bytes> {
    pub(super) value: Option<V>,
    pub(super) life: Life,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Life {
    OfItsKind,
    For(Duration),
    Until(SystemTime),
    NotStored,
}

impl Loaded {
    /// Bytes with the configured TTL, unless another one is set.
    pub fn new(value: impl Into<Bytes>) -> Self {
        Self::of(value.into())
    }
}

impl<V> Loaded<V> {
    /// As [`new`](Loaded::new), for any type: what a [`TypedReadThrough`](super::TypedReadThrough) loads.
    pub const fn of(value: V) -> Self {
        Self {
            value: Some(value),
            life: Life::OfItsKind,
        }
    }

    /// There is no value. Stored too, with the short TTL of negative answers, so that the next call does not load
    /// again.
    pub const fn absent() -> Self {
        Self {
            value: None,
            life: Life::OfItsKind,
        }
    }

    /// Sets the TTL, counted from the end of the load. Jitter may make it shorter, never longer. Zero means
    /// [`not_stored`](Self::not_stored).
    pub const fn living(mut self, life: Duration) -> Self {
        self.life = Life::For(life);
        self
    }

    /// Sets the time of expiry. Jitter may make it earlier, never later. A time in the past means
    /// [`not_stored`](Self::not_stored).
    pub const fn until(mut self, then: SystemTime) -> Self {
        self.life = Life::Until(then);
        self
    }

    /// For the current waiters only: it is not stored.
    pub const fn not_stored(mut self) -> Self {
        self.life = Life::NotStored;
        self
    }

    pub(super) fn map<W>(self, change: impl FnOnce(V) -> W) -> Loaded<W> {
        Loaded {
            value: self.value.map(change),
            life: self.life,
        }
    }

    /// Its TTL from `now` on, with the defaults `of_value` and `of_absent`. Zero if it is not to be stored.
    pub(super) fn life(&self, now: Duration, of_value: Duration, of_absent: Duration) -> Duration {
        match self.life {
            Life::OfItsKind if self.value.is_some() => of_value,
            Life::OfItsKind => of_absent,
            Life::For(life) => life,
            Life::Until(then) => then
                .duration_since(UNIX_EPOCH)
                .unwrap_or(Duration::ZERO)
                .saturating_sub(now),
            Life::NotStored => Duration::ZERO,
        }
    }
}

/// Shows whether there is a value, never the value.
impl<V> fmt::Debug for Loaded<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("absent", &self.value.is_none())
            .field("life", &self.life)
            .finish()
    }
}

/// The answer of a read-through.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer<V = Bytes> {
    /// The value, or `None` if the loader said that there is none.
    pub value: Option<V>,
    /// Whether it has expired.
    pub freshness: Freshness,
    /// When the load that made it began, by the clock of the process that loaded it.
    pub created: SystemTime,
}

/// Whether an [`Answer`] has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Freshness {
    /// Not expired.
    Fresh,
    /// Expired, and returned because the load failed, was held back, or took too long.
    Stale,
}

impl<V> Answer<V> {
    pub(super) fn new(value: Option<V>, freshness: Freshness, created_ms: u64) -> Self {
        let created = UNIX_EPOCH.checked_add(Duration::from_millis(created_ms));
        Self {
            value,
            freshness,
            created: created.unwrap_or(UNIX_EPOCH),
        }
    }

    /// Whether the value has expired.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.freshness == Freshness::Stale
    }
}

/// Shows whether there is a value, never the value.
impl<V> fmt::Debug for Answer<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("absent", &self.value.is_none())
            .field("freshness", &self.freshness)
            .field("created", &self.created)
            .finish()
    }
}
