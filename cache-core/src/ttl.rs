//! The time to live of an entry.
//!
//! Not in here: jitter, soft and hard expiry. They belong to the layers that decide them.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::CacheError;

/// How long an entry is kept: forever, or for a duration.
///
/// A zero [`Duration`] converts to [`Ttl::Forever`]. The unit of the contract is the millisecond; a shorter
/// duration rounds up to 1 ms, so that a tiny TTL never means "no expiry" or "delete". Two TTLs are equal if
/// they mean the same: `Ttl::After(Duration::ZERO)` equals [`Ttl::Forever`].
///
/// ```
/// use std::time::Duration;
/// use cache_core::Ttl;
///
/// assert_eq!(Ttl::from(Duration::ZERO), Ttl::Forever);
/// assert_eq!(Ttl::from(Duration::from_micros(3)).as_millis()?, Some(1));
/// assert_eq!(Ttl::secs(90).as_millis()?, Some(90_000));
/// # Ok::<(), cache_core::CacheError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub enum Ttl {
    /// Never expires.
    #[default]
    Forever,
    /// Expires after this time. At most [`Ttl::MAX`].
    After(Duration),
}

impl Ttl {
    /// The longest TTL that every backend can store: 1,000 years of 365 days.
    pub const MAX: Duration = Duration::from_secs(1_000 * 365 * 24 * 60 * 60);

    /// A TTL of `secs` seconds; zero is [`Ttl::Forever`].
    #[must_use]
    pub const fn secs(secs: u64) -> Self {
        if secs == 0 {
            Self::Forever
        } else {
            Self::After(Duration::from_secs(secs))
        }
    }

    /// A TTL of `millis` milliseconds; zero is [`Ttl::Forever`].
    #[must_use]
    pub const fn millis(millis: u64) -> Self {
        if millis == 0 {
            Self::Forever
        } else {
            Self::After(Duration::from_millis(millis))
        }
    }

    /// The TTL in whole milliseconds, rounded up, as a server takes it; `None` is forever.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for a TTL longer than [`Ttl::MAX`].
    pub fn as_millis(self) -> Result<Option<u64>, CacheError> {
        Ok(self
            .as_duration()?
            .map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The TTL as a whole number of milliseconds, rounded up; `None` is forever.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for a TTL longer than [`Ttl::MAX`].
    pub fn as_duration(self) -> Result<Option<Duration>, CacheError> {
        match self {
            Self::Forever | Self::After(Duration::ZERO) => Ok(None),
            Self::After(duration) if duration > Self::MAX => Err(CacheError::InvalidInput {
                argument: "ttl",
                reason: "longer than 1,000 years; use Ttl::Forever for an entry that never expires".into(),
            }),
            Self::After(duration) => {
                let millis = duration.as_nanos().div_ceil(1_000_000);
                Ok(Some(Duration::from_millis(
                    u64::try_from(millis).unwrap_or(u64::MAX),
                )))
            }
        }
    }

    /// Whether there is no expiry.
    #[must_use]
    pub const fn is_forever(self) -> bool {
        self.limit().is_none()
    }

    /// The TTL as it was given; `None` is forever.
    const fn limit(self) -> Option<Duration> {
        match self {
            Self::Forever | Self::After(Duration::ZERO) => None,
            Self::After(duration) => Some(duration),
        }
    }

    /// The shorter of two TTLs; [`Ttl::Forever`] is the longest.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        match (self.is_forever(), other.is_forever()) {
            (true, _) => other,
            (_, true) => self,
            _ => match (self, other) {
                (Self::After(a), Self::After(b)) => Self::After(a.min(b)),
                (duration, _) => duration,
            },
        }
    }
}

impl PartialEq for Ttl {
    fn eq(&self, other: &Self) -> bool {
        self.limit() == other.limit()
    }
}

impl Eq for Ttl {}

impl Hash for Ttl {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.limit().hash(state);
    }
}

impl From<Duration> for Ttl {
    fn from(duration: Duration) -> Self {
        if duration.is_zero() {
            Self::Forever
        } else {
            Self::After(duration)
        }
    }
}

impl From<Option<Duration>> for Ttl {
    fn from(duration: Option<Duration>) -> Self {
        duration.map_or(Self::Forever, Self::from)
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever | Self::After(Duration::ZERO) => f.write_str("forever"),
            Self::After(duration) => humantime::format_duration(*duration).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_duration_is_forever() {
        assert_eq!(Ttl::from(Duration::ZERO), Ttl::Forever);
        assert_eq!(Ttl::After(Duration::ZERO).as_millis().unwrap(), None);
        assert!(Ttl::After(Duration::ZERO).is_forever());
    }

    #[test]
    fn equal_ttls_hash_alike() {
        let ttls = [
            Ttl::Forever,
            Ttl::After(Duration::ZERO),
            Ttl::secs(0),
            Ttl::millis(0),
        ];
        for duration in ttls {
            assert_eq!(duration, Ttl::Forever);
        }
        let distinct: std::collections::HashSet<_> = ttls.into_iter().collect();
        assert_eq!(distinct.len(), 1);
        assert_eq!(Ttl::secs(1), Ttl::millis(1_000));
        assert_ne!(Ttl::secs(1), Ttl::Forever);
        assert_ne!(Ttl::secs(1), Ttl::secs(2));
    }

    #[test]
    fn sub_millisecond_ttl_rounds_up() {
        assert_eq!(Ttl::After(Duration::from_nanos(1)).as_millis().unwrap(), Some(1));
        assert_eq!(
            Ttl::After(Duration::from_micros(1_001)).as_millis().unwrap(),
            Some(2)
        );
        assert_eq!(Ttl::After(Duration::from_millis(7)).as_millis().unwrap(), Some(7));
    }

    #[test]
    fn ttl_over_the_limit_is_refused() {
        assert!(Ttl::After(Ttl::MAX).as_millis().is_ok());
        for duration in [Ttl::MAX + Duration::from_nanos(1), Duration::MAX] {
            let error = Ttl::from(duration).as_millis().unwrap_err();
            assert!(
                matches!(error, CacheError::InvalidInput { argument: "ttl", .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn min_returns_the_shorter_ttl() {
        assert_eq!(Ttl::secs(1).min(Ttl::Forever), Ttl::secs(1));
        assert_eq!(Ttl::Forever.min(Ttl::secs(1)), Ttl::secs(1));
        assert_eq!(Ttl::secs(2).min(Ttl::secs(1)), Ttl::secs(1));
        assert_eq!(Ttl::Forever.min(Ttl::Forever), Ttl::Forever);
    }
}
