//! Numbers and times as people read them.

use std::time::Duration;

/// `12,345`.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 key`, `12,345 keys`.
pub(crate) fn keys(count: u64) -> String {
    counted(count, "key", "keys")
}

/// `1 primary`, `3 primaries`.
pub(crate) fn primaries(count: usize) -> String {
    counted(u64::try_from(count).unwrap_or(u64::MAX), "primary", "primaries")
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// Three digits or so: `850 B`, `1.46 KiB`, `50 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut size = bytes as f64 / 1_024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while size >= 1_000.0
        && let Some(next) = units.next()
    {
        size /= 1_024.0;
        unit = Some(next);
    }
    let text = match size {
        ..10.0 => format!("{size:.2}"),
        ..100.0 => format!("{size:.1}"),
        _ => format!("{size:.0}"),
    };
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text} {}", unit.unwrap_or(&""))
}

/// Three digits or so: `850 µs`, `12.3 ms`, `4.21 s`, `3m 12s`.
pub(crate) fn time(time: Duration) -> String {
    let micros = time.as_micros();
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000 => format!("{}.{:02} ms", micros / 1_000, micros % 1_000 / 10),
        10_000..100_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        100_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..10_000_000 => format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000),
        10_000_000..60_000_000 => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
        _ => humantime::format_duration(Duration::from_secs(time.as_secs())).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_groups_of_three() {
        let shown = [0, 999, 1_000, 12_345, 1_234_567].map(number);
        assert_eq!(shown, ["0", "999", "1,000", "12,345", "1,234,567"]);
        assert_eq!((keys(1), keys(2)), ("1 key".to_owned(), "2 keys".to_owned()));
    }

    #[test]
    fn sizes_have_about_three_digits() {
        let shown = [
            0,
            1_023,
            1_024,
            1_500,
            50 << 20,
            1_000 << 20,
            123_456_789,
            u64::MAX,
        ]
        .map(bytes);
        let expected = [
            "0 B", "1023 B", "1 KiB", "1.46 KiB", "50 MiB", "0.98 GiB", "118 MiB", "16 EiB",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn times_have_about_three_digits() {
        let shown = [0, 850, 1_234, 12_345, 123_456, 1_234_567, 12_345_678, 192_000_000]
            .map(|micros| time(Duration::from_micros(micros)));
        let expected = [
            "0 µs", "850 µs", "1.23 ms", "12.3 ms", "123 ms", "1.23 s", "12.3 s", "3m 12s",
        ];
        assert_eq!(shown, expected);
    }
}
