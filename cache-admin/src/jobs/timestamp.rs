//! A moment of the calendar, as jobs and the audit log tell it.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use cache_layers::{SystemClock, WallClock as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment, to the millisecond; shown and serialised as RFC 3339 in UTC, such as `2026-11-21T17:20:08.123Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// The last millisecond of the year 9999, after which RFC 3339 ends.
const LAST: u64 = 253_402_300_799_999;

impl Timestamp {
    pub(super) fn now() -> Self {
        let millis = SystemClock.since_epoch().as_millis();
        Self::of_millis(u64::try_from(millis).unwrap_or(LAST))
    }

    pub(super) fn of_millis(millis: u64) -> Self {
        Self(millis.min(LAST))
    }

    /// So long after 1970-01-01 00:00 UTC.
    pub(super) fn of(time: Duration) -> Self {
        Self::of_millis(u64::try_from(time.as_millis()).unwrap_or(LAST))
    }

    pub(super) const fn millis(self) -> u64 {
        self.0
    }

    /// The time that had passed since 1970-01-01 00:00 UTC.
    #[must_use]
    pub const fn since_epoch(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(UNIX_EPOCH + self.since_epoch()).fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        let time = humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)?;
        let since = time
            .duration_since(UNIX_EPOCH)
            .map_err(serde::de::Error::custom)?;
        Ok(Self::of(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_back_to_the_millisecond() {
        for millis in [0, 1_795_281_608_123, LAST, u64::MAX] {
            let moment = Timestamp::of_millis(millis);
            let text = serde_json::to_string(&moment).unwrap();
            assert_eq!(
                serde_json::from_str::<Timestamp>(&text).unwrap(),
                moment,
                "{text}"
            );
        }
        let text = Timestamp::of_millis(1_795_281_608_123).to_string();
        assert_eq!(text, "2026-11-21T17:20:08.123Z");
    }
}
