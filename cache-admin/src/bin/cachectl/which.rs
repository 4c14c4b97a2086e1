//! Which keys `keys` and `invalidate` are about: patterns, and what else has to be true of a key.

use std::ffi::OsString;
use std::time::Duration;

use cache_admin::{KeyType, Life, Selection};
use cache_core::Pattern;
use clap::Args;
use serde_json::Value;

use crate::cli::duration;
use crate::columns::{Column, Known};
use crate::failure::Failure;

const TYPES: [&str; 6] = ["string", "list", "set", "zset", "hash", "stream"];

/// What has to be true of a key besides its name. All that is given has to hold.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Only keys")]
pub(crate) struct Filters {
    /// Of this type: string, list, set, zset, hash or stream; may be given several times
    #[arg(long = "type", value_name = "TYPE", value_parser = TYPES)]
    types: Vec<String>,
    /// That expire within TIME
    #[arg(long, value_name = "TIME", value_parser = duration)]
    ttl_below: Option<Duration>,
    /// That expire, but not before TIME is over
    #[arg(long, value_name = "TIME", value_parser = duration)]
    ttl_above: Option<Duration>,
    /// That never expire
    #[arg(long, conflicts_with_all = ["ttl_below", "ttl_above"])]
    no_ttl: bool,
    /// That take more memory than SIZE, as the server counts it, such as 500, 10KiB or 1MiB
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    larger_than: Option<u64>,
    /// That nobody has used for at least TIME; not on servers that evict by frequency (LFU)
    #[arg(long, value_name = "TIME", value_parser = duration)]
    idle: Option<Duration>,
}

impl Filters {
    /// The keys of `patterns`, as they were typed, that pass.
    pub(crate) fn of(&self, patterns: &[OsString]) -> Result<Selection, Failure> {
        let patterns: Vec<Pattern> = patterns
            .iter()
            .map(|text| Pattern::new(text.clone().into_encoded_bytes()))
            .collect::<Result<_, _>>()?;
        let mut selection = Selection::any_of(patterns)?;
        if !self.types.is_empty() {
            selection = selection.with_types(self.types.iter().map(|name| KeyType::of(name)));
        }
        if let Some(life) = self.life()? {
            selection = selection.with_life(life);
        }
        if let Some(size) = self.larger_than {
            selection = selection.with_size(size.saturating_add(1)..=u64::MAX);
        }
        if let Some(idle) = self.idle {
            selection = selection.with_idle(idle);
        }
        Ok(selection)
    }

    /// Whether a key that a service told of passes; [`Filters::fields`] have to be known of it.
    pub(crate) fn passes(&self, known: &Known) -> bool {
        let of_type = known.kind.as_ref().is_some_and(|kind| self.types.contains(kind));
        let left = known.ttl_ms.map(Duration::from_millis);
        (self.types.is_empty() || of_type)
            && (!self.no_ttl || known.forever == Some(true))
            && self
                .ttl_below
                .is_none_or(|most| left.is_some_and(|left| left <= most))
            && self
                .ttl_above
                .is_none_or(|least| left.is_some_and(|left| left >= least))
            && self
                .larger_than
                .is_none_or(|size| known.size.is_some_and(|known| known > size))
    }

    /// What a service has to tell of each key, so that it can be seen whether it passes.
    pub(crate) fn fields(&self) -> Vec<Column> {
        let mut fields = Vec::new();
        if !self.types.is_empty() {
            fields.push(Column::Type);
        }
        if self.no_ttl || self.ttl_below.is_some() || self.ttl_above.is_some() {
            fields.push(Column::Ttl);
        }
        if self.larger_than.is_some() {
            fields.push(Column::Size);
        }
        fields
    }

    /// Whether keys have to be idle, which a service that lists does not tell.
    pub(crate) const fn asks_for_idle(&self) -> bool {
        self.idle.is_some()
    }

    /// The same, as a request to the service says it.
    pub(crate) fn put(&self, request: &mut Value) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        if !self.types.is_empty() {
            request["types"] = self.types.as_slice().into();
        }
        if self.no_ttl {
            request["forever"] = true.into();
        }
        for (bound, time) in [("min", self.ttl_above), ("max", self.ttl_below)] {
            if let Some(time) = time {
                request["ttl_ms"][bound] = millis(time).into();
            }
        }
        if let Some(size) = self.larger_than {
            request["size"]["min"] = size.saturating_add(1).into();
        }
        if let Some(idle) = self.idle {
            request["idle_ms"] = millis(idle).into();
        }
    }

    fn life(&self) -> Result<Option<Life>, Failure> {
        if self.no_ttl {
            return Ok(Some(Life::Forever));
        }
        if self.ttl_below.is_none() && self.ttl_above.is_none() {
            return Ok(None);
        }
        let (least, most) = (
            self.ttl_above.unwrap_or(Duration::ZERO),
            self.ttl_below.unwrap_or(Duration::MAX),
        );
        if least > most {
            return Err(cache_core::CacheError::InvalidInput {
                argument: "--ttl-above",
                reason: "is more than --ttl-below: no key could pass".into(),
            }
            .into());
        }
        Ok(Some(Life::Within(least..=most)))
    }
}

/// A size as people write it.
fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "must be a number of bytes, such as 500, 10KiB or 1MiB".to_owned();
    let text = text.trim();
    let digits = text.trim_end_matches(|byte: char| !byte.is_ascii_digit());
    let unit: u64 = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        filters: Filters,
    }

    #[test]
    fn the_service_is_told_the_same_filters() {
        use clap::Parser as _;

        let request = |line: &[&str]| {
            let line = Line::try_parse_from([&["x"], line].concat()).unwrap();
            let mut request = serde_json::json!({});
            line.filters.put(&mut request);
            request
        };
        assert_eq!(request(&[]), serde_json::json!({}));
        assert_eq!(
            request(&[
                "--type",
                "set",
                "--ttl-below",
                "2s",
                "--larger-than",
                "1k",
                "--idle",
                "1m"
            ]),
            serde_json::json!({
                "types": ["set"], "ttl_ms": { "max": 2_000 }, "size": { "min": 1_025 }, "idle_ms": 60_000
            })
        );
        assert_eq!(request(&["--no-ttl"]), serde_json::json!({ "forever": true }));
        assert_eq!(
            request(&["--ttl-above", "1s"]),
            serde_json::json!({ "ttl_ms": { "min": 1_000 } })
        );
    }

    #[test]
    fn what_a_service_tells_of_a_key_is_held_against_the_filters() {
        use clap::Parser as _;

        let known = Known {
            kind: Some("set".to_owned()),
            ttl_ms: Some(60_000),
            forever: Some(false),
            size: Some(100),
        };
        let passes = |line: &[&str]| {
            let filters = Line::try_parse_from([&["x"], line].concat()).unwrap().filters;
            (filters.passes(&known), filters.fields().len())
        };
        assert_eq!(passes(&[]), (true, 0));
        assert_eq!(passes(&["--type", "set", "--larger-than", "99"]), (true, 2));
        assert_eq!(passes(&["--type", "hash"]), (false, 1));
        assert_eq!(passes(&["--larger-than", "100"]), (false, 1));
        assert_eq!(passes(&["--ttl-below", "1m", "--ttl-above", "1m"]), (true, 1));
        assert_eq!(
            (passes(&["--ttl-below", "59s"]), passes(&["--no-ttl"])),
            ((false, 1), (false, 1))
        );
    }

    #[test]
    fn a_size_is_a_number_of_bytes_with_or_without_a_unit() {
        assert_eq!(bytes("500"), Ok(500));
        assert_eq!(bytes("10 KiB"), Ok(10_240));
        assert_eq!((bytes("1m"), bytes("2GB")), (Ok(1 << 20), Ok(2 << 30)));
        for wrong in ["", "KiB", "-5", "1.5MiB", "10 parsecs", "99999999999GiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
