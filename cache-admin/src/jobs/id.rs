//! The name of a job.

use std::fmt;
use std::str::FromStr;

use rand::Rng as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Timestamp;

/// The name of a job: 26 letters and digits that sort by the time of the job's start. Two jobs never have the
/// same, of which the later one is the greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(u128);

/// A text that names no job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no job id: it has 26 letters and digits, such as 01k9h3mvq8x4t0r7c2e5a6b8d9")]
pub struct JobIdError;

/// The digits of Crockford's Base32, in which no two look alike.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

const LENGTH: usize = 26;

/// The bits below the time.
const RANDOM: u32 = 80;

impl JobId {
    /// One for a job that starts now, where `last` is the greatest so far.
    pub(super) fn next(now: Timestamp, last: Option<Self>) -> Self {
        let random = rand::rng().random::<u128>() >> (128 - RANDOM);
        let fresh = Self((u128::from(now.millis()) << RANDOM) | random);
        match last {
            // Within the same millisecond, and where the clock was put back.
            Some(last) if last >= fresh => Self(last.0 + 1),
            _ => fresh,
        }
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = (0..LENGTH).rev().map(|place| {
            let digit = (self.0 >> (place * 5)) & 31;
            char::from(DIGITS[usize::try_from(digit).unwrap_or(0)])
        });
        f.write_str(&digits.collect::<String>())
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({self})")
    }
}

impl FromStr for JobId {
    type Err = JobIdError;

    fn from_str(text: &str) -> Result<Self, JobIdError> {
        if text.len() != LENGTH {
            return Err(JobIdError);
        }
        text.bytes()
            .map(|byte| byte.to_ascii_lowercase())
            .try_fold(0_u128, |id, byte| {
                let digit = DIGITS.iter().position(|digit| *digit == byte)?;
                id.checked_mul(32)?.checked_add(u128::try_from(digit).ok()?)
            })
            .map(Self)
            .ok_or(JobIdError)
    }
}

impl Serialize for JobId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for JobId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_sorts_by_time_also_as_text_and_is_read_back() {
        let mut last = None;
        let mut texts = Vec::new();
        // The clock stands still, goes on, and is put back.
        for millis in [5, 5, 5, 6, 1_800_000_000_000, 4] {
            let id = JobId::next(Timestamp::of_millis(millis), last);
            assert!(last < Some(id));
            let text = id.to_string();
            assert_eq!(text.parse(), Ok(id));
            assert_eq!(text.to_uppercase().parse(), Ok(id));
            texts.push(text);
            last = Some(id);
        }
        assert!(texts.is_sorted(), "{texts:?}");
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for wrong in [
            "",
            "1",
            "zzzzzzzzzzzzzzzzzzzzzzzzzz",
            "01k9h3mvq8x4t0r7c2e5a6b8du",
            "../../../../../etc/passwd1",
        ] {
            assert_eq!(wrong.parse::<JobId>(), Err(JobIdError), "{wrong}");
        }
    }
}
