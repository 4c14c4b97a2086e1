//! Parses the written forms of values: switches, durations, byte sizes, numbers.
//!
//! A parser returns `None` for a text that it does not accept; `reference` has the words of the problem. Not
//! in here: ranges, which also apply to values that were never written (`check`).

use std::time::Duration;

/// The problem of a value in literal quotes: shells remove them, env files and YAML may not.
pub(super) const QUOTES: &str = "the value has literal quotes around it: remove them";

/// Whether `text` is in literal quotes.
pub(super) fn is_quoted(text: &str) -> bool {
    text.len() >= 2
        && ['"', '\'']
            .iter()
            .any(|quote| text.starts_with(*quote) && text.ends_with(*quote))
}

/// `true` or `false`, and the equivalents of other tools.
pub(super) fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A duration with its unit, as `humantime` reads it.
pub(super) fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

/// A number of digits only.
pub(super) fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A number of bytes, plain or with a unit.
pub(super) fn size(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let unit = unit.trim();
    let factor = match UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => 1,
        None => return None,
    };
    number::<u64>(digits)?.checked_mul(factor)
}

/// The shortest exact form of a number of bytes; [`size`] reads it back.
pub(super) fn write_size(bytes: u64) -> String {
    let exact = UNITS
        .iter()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    exact.map_or_else(
        || "0B".to_owned(),
        |(name, factor)| format!("{}{name}", bytes / factor),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn size_round_trips(bytes: u64, shift in 0_u32..40) {
            let bytes = bytes >> shift << shift;
            prop_assert_eq!(size(&write_size(bytes)), Some(bytes));
            prop_assert_eq!(size(&bytes.to_string()), Some(bytes));
        }

        #[test]
        fn duration_round_trips(millis in 0_u64..100_000_000_000) {
            let time = Duration::from_millis(millis);
            prop_assert_eq!(duration(&humantime::format_duration(time).to_string()), Some(time));
        }

        #[test]
        fn any_text_is_parsed_without_panic(text in ".{0,30}") {
            let _ = (switch(&text), duration(&text), size(&text), number::<u32>(&text));
        }
    }

    #[test]
    fn sizes_take_plain_numbers_and_binary_units_only() {
        assert_eq!(size("1536"), Some(1536));
        assert_eq!(size("64MiB"), Some(64 << 20));
        assert_eq!(size("2 gib"), Some(2 << 30));
        for wrong in [
            "",
            "MiB",
            "-1",
            "+1",
            "1.5MiB",
            "64MB",
            "64 parsecs",
            "99999999999GiB",
            "18446744073709551616",
        ] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn duration_without_a_unit_is_refused() {
        assert_eq!(duration("5"), None);
        assert_eq!(duration("1m 30s"), Some(Duration::from_secs(90)));
    }
}
