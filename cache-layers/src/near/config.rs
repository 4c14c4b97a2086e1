//! Configuration of a near cache: every setting, its default, and its limits.

use std::time::Duration;

use cache_core::CacheError;

use crate::near::{Bounds, Lives};
use crate::refuse::refuse;

/// The configuration of a near cache: of a [`Tiered`](crate::Tiered), or of a
/// [`TypedReadThrough`](crate::TypedReadThrough).
///
/// ```
/// use std::time::Duration;
/// use cache_layers::NearConfig;
///
/// let config = NearConfig::builder()
///     .max_bytes(256 * 1024 * 1024)
///     .untracked_life(Duration::ZERO)
///     .build()?;
/// # let _ = config;
/// # Ok::<(), cache_core::CacheError>(())
/// ```
#[derive(Clone, Debug)]
pub struct NearConfig {
    max_bytes: u64,
    max_entries: u64,
    life: Duration,
    untracked_life: Duration,
}

impl Default for NearConfig {
    fn default() -> Self {
        Self {
            max_bytes: 64 * 1024 * 1024,
            max_entries: 1_000_000,
            life: Duration::from_secs(60),
            untracked_life: Duration::from_secs(1),
        }
    }
}

impl NearConfig {
    /// Starts with the defaults.
    pub fn builder() -> NearConfigBuilder {
        NearConfigBuilder::default()
    }

    pub(crate) const fn bounds(&self) -> Bounds {
        Bounds {
            max_bytes: self.max_bytes,
            max_entries: self.max_entries,
        }
    }

    pub(crate) const fn lives(&self) -> Lives {
        Lives {
            tracked: self.life,
            untracked: self.untracked_life,
        }
    }
}

/// Builds a [`NearConfig`]. A setter never fails; [`build`](Self::build) reports what is wrong.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct NearConfigBuilder {
    config: NearConfig,
}

impl NearConfigBuilder {
    /// How much is kept, in bytes: keys, values and bookkeeping. A decoded value counts with its encoded size,
    /// because its decoded size is not known. At least 1 KiB. Default: 64 MiB.
    pub const fn max_bytes(mut self, bytes: u64) -> Self {
        self.config.max_bytes = bytes;
        self
    }

    /// How many entries are kept. At least 1. Default: 1,000,000.
    pub const fn max_entries(mut self, entries: u64) -> Self {
        self.config.max_entries = entries;
        self
    }

    /// The longest TTL of an entry, counted from when its read was sent. Never beyond the TTL of the far entry. From
    /// 1 ms to 365 days. Default: 1 minute.
    pub const fn life(mut self, life: Duration) -> Self {
        self.config.life = life;
        self
    }

    /// The longest TTL of an entry whose changes are not reported. This is the worst staleness of such an entry.
    /// Zero: it is not kept. Default: 1 second.
    pub const fn untracked_life(mut self, life: Duration) -> Self {
        self.config.untracked_life = life;
        self
    }

    /// Builds the configuration.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`], which names the first invalid setting and what it accepts.
    pub fn build(self) -> Result<NearConfig, CacheError> {
        let config = self.config;
        let wrong = [
            (config.max_bytes < LEAST_BYTES, "max_bytes", "takes 1024 and more"),
            (config.max_entries == 0, "max_entries", "takes 1 and more"),
            (
                config.life < LEAST_LIFE || config.life > LONGEST_LIFE,
                "life",
                "takes 1 ms to 365 days",
            ),
            (
                config.untracked_life > LONGEST_LIFE,
                "untracked_life",
                "takes zero to 365 days",
            ),
        ];
        match wrong.into_iter().find(|(is_wrong, ..)| *is_wrong) {
            None => Ok(config),
            Some((_, argument, reason)) => refuse(argument, reason),
        }
    }
}

/// Less has no room for an entry of a usual size.
const LEAST_BYTES: u64 = 1024;
const LEAST_LIFE: Duration = Duration::from_millis(1);
const LONGEST_LIFE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(builder: NearConfigBuilder) -> String {
        builder.build().unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let new = NearConfig::builder;
        assert!(new().build().is_ok());
        assert!(new().untracked_life(Duration::ZERO).build().is_ok());
        assert!(new().max_bytes(u64::MAX).max_entries(u64::MAX).build().is_ok());
        assert_eq!(
            refused(new().max_bytes(1023)),
            "invalid max_bytes: takes 1024 and more"
        );
        assert_eq!(
            refused(new().max_entries(0)),
            "invalid max_entries: takes 1 and more"
        );
        assert_eq!(
            refused(new().life(Duration::ZERO)),
            "invalid life: takes 1 ms to 365 days"
        );
        assert_eq!(
            refused(new().untracked_life(Duration::MAX)),
            "invalid untracked_life: takes zero to 365 days"
        );
    }
}
