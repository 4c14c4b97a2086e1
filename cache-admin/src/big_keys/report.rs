//! What a search for big keys found, and how much of the cache it is based on.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Measured;
use super::group::{Group, Groups};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct BigKeys {
    /// Whether every key was looked at: then nothing is an estimate.
    pub exact: bool,
    /// Keys on all primaries; missing where one of them does not tell.
    pub keys: Option<u64>,
    /// Keys that were looked at, matching or not; one that was drawn twice counts twice.
    pub sampled: u64,
    /// Those of them that matched and were there to be measured.
    pub matched: u64,
    /// The largest of those, the largest first.
    pub largest: Vec<BigKey>,
    /// By type.
    pub by_type: Vec<Group>,
    /// By what the names begin with, up to the first colon.
    pub by_prefix: Vec<Group>,
    /// The primaries.
    pub primaries: Vec<SampledPrimary>,
}

/// A key that takes much memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct BigKey {
    /// Its name, where it is text, without the prefix of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "http", schema(nullable = false))]
    pub key: Option<String>,
    /// Its name in base64, where it is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "http", schema(nullable = false))]
    pub key_base64: Option<String>,
    /// Its name; not in JSON, where it is one of the above.
    #[serde(skip)]
    #[cfg_attr(feature = "http", schema(ignore))]
    pub name: Bytes,
    /// The type, as the server names it.
    #[serde(rename = "type")]
    pub kind: String,
    /// The memory that it takes, with its name, in bytes.
    pub memory_bytes: u64,
    /// Whether its life has an end.
    pub has_ttl: bool,
}

/// How much of one primary was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct SampledPrimary {
    /// Where it is.
    pub address: String,
    /// Keys that it holds.
    pub keys: Option<u64>,
    /// Keys that were looked at on it.
    pub sampled: u64,
    /// Why there are not more, where that is not as asked for.
    pub error: Option<String>,
}

/// Takes in keys one by one, in bounded memory.
#[derive(Debug)]
pub(super) struct Gathered {
    /// What the configuration puts before every key.
    prefix: String,
    top: usize,
    largest: Vec<Measured>,
    by_type: Groups,
    by_prefix: Groups,
    matched: u64,
}

impl Gathered {
    pub(super) fn new(prefix: &str, top: usize) -> Self {
        Self {
            prefix: prefix.to_owned(),
            top,
            largest: Vec::new(),
            by_type: Groups::default(),
            by_prefix: Groups::default(),
            matched: 0,
        }
    }

    /// One key, which stands for `weight` of them.
    pub(super) fn take(&mut self, sized: &Measured, weight: f64) {
        self.matched += 1;
        self.by_type.add(sized.kind, sized.bytes, weight);
        let name = self.shown(&sized.key);
        let prefix = match name.iter().position(|byte| *byte == b':') {
            Some(end) => String::from_utf8_lossy(&name[..=end]).into_owned(),
            None => "(no prefix)".to_owned(),
        };
        self.by_prefix.add(&prefix, sized.bytes, weight);
        // Drawn with replacement: the same key may come again.
        if self.top == 0 || self.largest.iter().any(|known| known.key == sized.key) {
            return;
        }
        let place = self.largest.partition_point(|known| known.bytes >= sized.bytes);
        if place < self.top {
            self.largest.insert(place, sized.clone());
            self.largest.truncate(self.top);
        }
    }

    pub(super) fn report(self, primaries: Vec<SampledPrimary>, exact: bool) -> BigKeys {
        let largest = self.largest.iter().map(|sized| {
            let name = Bytes::copy_from_slice(self.shown(&sized.key));
            let text = std::str::from_utf8(&name).ok().map(str::to_owned);
            BigKey {
                key_base64: text.is_none().then(|| STANDARD.encode(&name)),
                key: text,
                name,
                kind: sized.kind.to_owned(),
                memory_bytes: sized.bytes,
                has_ttl: sized.has_life,
            }
        });
        BigKeys {
            exact,
            keys: primaries.iter().map(|primary| primary.keys).sum(),
            sampled: primaries.iter().map(|primary| primary.sampled).sum(),
            matched: self.matched,
            largest: largest.collect(),
            by_type: self.by_type.finish(),
            by_prefix: self.by_prefix.finish(),
            primaries,
        }
    }

    fn shown<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        key.strip_prefix(self.prefix.as_bytes()).unwrap_or(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_kept_in_order_and_none_twice() {
        let mut gathered = Gathered::new("shop:", 3);
        for (key, bytes) in [
            ("a:1", 5),
            ("a:2", 9),
            ("a:2", 9),
            ("b", 7),
            ("a:3", 1),
            ("a:4", 8),
        ] {
            let sized = Measured {
                key: format!("shop:{key}").into(),
                kind: "string",
                bytes,
                has_life: false,
            };
            gathered.take(&sized, 1.0);
        }
        let report = gathered.report(Vec::new(), true);
        let largest: Vec<_> = report
            .largest
            .iter()
            .filter_map(|key| Some((key.key.as_deref()?, key.memory_bytes)))
            .collect();
        assert_eq!(largest, [("a:2", 9), ("a:4", 8), ("b", 7)]);
        let prefixes: Vec<_> = report.by_prefix.iter().map(|group| group.name.as_str()).collect();
        assert_eq!(prefixes, ["a:", "(no prefix)"]);
        assert_eq!(report.matched, 6);
    }
}
