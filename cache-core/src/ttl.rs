//! How long an entry lives.
//!
//! Not in here: jitter, soft and hard expiry; those belong to the layers that decide them.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::CacheError;

/// How long an entry lives: forever, or for a time.
///
/// A zero [`Duration`] converts to [`Ttl::Forever`]. The unit of the contract is the millisecond;
/// what is shorter rounds up to 1 ms, so that a tiny life never turns into "no expiry" or "delete".
/// Two are equal where they are the same life: `Ttl::After(Duration::ZERO)` is [`Ttl::Forever`].
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
    /// The longest life that every backend can store: 1,000 years of 365 days.
    pub const MAX: Duration = Duration::from_secs(1_000 * 365 * 24 * 60 * 60);

    /// A life of `secs` seconds; zero is [`Ttl::Forever`].
    #[must_use]
    pub const fn secs(secs: u64) -> Self {
        if secs == 0 {
            Self::Forever
        } else {
            Self::After(Duration::from_secs(secs))
        }
    }

    /// A life of `millis` milliseconds; zero is [`Ttl::Forever`].
    #[must_use]
    pub const fn millis(millis: u64) -> Self {
        if millis == 0 {
            Self::Forever
        } else {
            Self::After(Duration::from_millis(millis))
        }
    }

    /// The life in whole milliseconds, rounded up; `None` is forever. This is what goes to a server.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for a life longer than [`Ttl::MAX`].
    pub fn as_millis(self) -> Result<Option<u64>, CacheError> {
        Ok(self
            .as_duration()?
            .map(|life| u64::try_from(life.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The life as a whole number of milliseconds, rounded up; `None` is forever.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for a life longer than [`Ttl::MAX`].
    pub fn as_duration(self) -> Result<Option<Duration>, CacheError> {
        match self {
            Self::Forever | Self::After(Duration::ZERO) => Ok(None),
            Self::After(life) if life > Self::MAX => Err(CacheError::InvalidInput {
                argument: "ttl",
                reason: "longer than 1,000 years; use Ttl::Forever for an entry that never expires".into(),
            }),
            Self::After(life) => {
                let millis = life.as_nanos().div_ceil(1_000_000);
                Ok(Some(Duration::from_millis(
                    u64::try_from(millis).unwrap_or(u64::MAX),
                )))
            }
        }
    }

    /// Whether this is no expiry at all.
    #[must_use]
    pub const fn is_forever(self) -> bool {
        self.limit().is_none()
    }

    /// The life as it was given; `None` is forever.
    const fn limit(self) -> Option<Duration> {
        match self {
            Self::Forever | Self::After(Duration::ZERO) => None,
            Self::After(life) => Some(life),
        }
    }

    /// The shorter of two lives; a limited one is shorter than [`Ttl::Forever`].
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        match (self.is_forever(), other.is_forever()) {
            (true, _) => other,
            (_, true) => self,
            _ => match (self, other) {
                (Self::After(a), Self::After(b)) => Self::After(a.min(b)),
                (life, _) => life,
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
    fn from(life: Duration) -> Self {
        if life.is_zero() {
            Self::Forever
        } else {
            Self::After(life)
        }
    }
}

impl From<Option<Duration>> for Ttl {
    fn from(life: Option<Duration>) -> Self {
        life.map_or(Self::Forever, Self::from)
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever | Self::After(Duration::ZERO) => f.write_str("forever"),
            Self::After(life) => humantime::format_duration(*life).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_duration_is_forever() {
        assert_eq!(Ttl::from(Duration::ZERO), Ttl::Forever);
        assert_eq!(Ttl::After(Duration::ZERO).as_millis().unwrap(), None);
        assert!(Ttl::After(Duration::ZERO).is_forever());
    }

    #[test]
    fn the_same_life_is_equal_and_hashes_alike_however_it_was_written() {
        let lives = [
            Ttl::Forever,
            Ttl::After(Duration::ZERO),
            Ttl::secs(0),
            Ttl::millis(0),
        ];
        for life in lives {
            assert_eq!(life, Ttl::Forever);
        }
        let distinct: std::collections::HashSet<_> = lives.into_iter().collect();
        assert_eq!(distinct.len(), 1);
        assert_eq!(Ttl::secs(1), Ttl::millis(1_000));
        assert_ne!(Ttl::secs(1), Ttl::Forever);
        assert_ne!(Ttl::secs(1), Ttl::secs(2));
    }

    #[test]
    fn what_is_shorter_than_a_millisecond_rounds_up() {
        assert_eq!(Ttl::After(Duration::from_nanos(1)).as_millis().unwrap(), Some(1));
        assert_eq!(
            Ttl::After(Duration::from_micros(1_001)).as_millis().unwrap(),
            Some(2)
        );
        assert_eq!(Ttl::After(Duration::from_millis(7)).as_millis().unwrap(), Some(7));
    }

    #[test]
    fn what_is_longer_than_the_limit_is_refused_not_wrapped() {
        assert!(Ttl::After(Ttl::MAX).as_millis().is_ok());
        for life in [Ttl::MAX + Duration::from_nanos(1), Duration::MAX] {
            let error = Ttl::from(life).as_millis().unwrap_err();
            assert!(
                matches!(error, CacheError::InvalidInput { argument: "ttl", .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn the_shorter_life_wins_and_forever_is_the_longest() {
        assert_eq!(Ttl::secs(1).min(Ttl::Forever), Ttl::secs(1));
        assert_eq!(Ttl::Forever.min(Ttl::secs(1)), Ttl::secs(1));
        assert_eq!(Ttl::secs(2).min(Ttl::secs(1)), Ttl::secs(1));
        assert_eq!(Ttl::Forever.min(Ttl::Forever), Ttl::Forever);
    }
}
