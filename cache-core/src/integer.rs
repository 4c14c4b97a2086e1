//! What a server accepts as an integer, and its error for any other value. Shared by every backend and by
//! layers that distinguish counters from other values.

use bytes::Bytes;

use crate::CacheError;

/// Parses `value` as an integer: decimal, an optional minus sign, no leading zero, no `-0`, no space, no plus
/// sign, within `i64`.
///
/// ```
/// use cache_core::integer;
///
/// assert_eq!(integer::parse(b"-7"), Some(-7));
/// assert_eq!(integer::parse(b"007"), None);
/// ```
#[must_use]
pub fn parse(value: &[u8]) -> Option<i64> {
    // Almost every value is something else, and its first byte shows it.
    match value.strip_prefix(b"-").unwrap_or(value) {
        [b'0'] if value.len() == 1 => Some(0),
        [b'1'..=b'9', rest @ ..] if rest.len() < 19 && rest.iter().all(u8::is_ascii_digit) => {
            str::from_utf8(value).ok()?.parse().ok()
        }
        _ => None,
    }
}

/// `value`, read as an integer, plus `delta`.
///
/// # Errors
///
/// [`CacheError::Rejected`] in the server's words if `value` is not an integer, or if the sum exceeds `i64`.
pub fn add(value: &[u8], delta: i64) -> Result<i64, CacheError> {
    let number = parse(value).ok_or_else(|| rejected("value is not an integer or out of range"))?;
    number
        .checked_add(delta)
        .ok_or_else(|| rejected("increment or decrement would overflow"))
}

/// The integer as it is stored.
pub(crate) fn format(number: i64) -> Bytes {
    Bytes::from(number.to_string())
}

fn rejected(detail: &'static str) -> CacheError {
    CacheError::Rejected {
        code: "ERR".into(),
        detail: detail.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a server (Valkey 9.1) answers `INCR`.
    #[test]
    fn parse_accepts_what_the_server_accepts() {
        for (text, number) in [
            ("0", 0),
            ("7", 7),
            ("-1", -1),
            ("10", 10),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(number), "{text}");
            assert_eq!(format(number), text);
        }
        for text in [
            "",
            "-",
            "-0",
            "00",
            "01",
            "-01",
            "+1",
            " 1",
            "1 ",
            "1\n",
            "1e3",
            "1.0",
            "0x1",
            "abc",
            "1\0",
            "--1",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999999",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse("１".as_bytes()), None, "a full-width digit");
    }

    #[test]
    fn add_rejects_in_the_servers_words() {
        let text = |result: Result<i64, CacheError>| result.unwrap_err().to_string();
        assert_eq!(
            text(add(b"x", 1)),
            "rejected by the server, ERR: value is not an integer or out of range"
        );
        let overflow = "rejected by the server, ERR: increment or decrement would overflow";
        assert_eq!(text(add(b"9223372036854775807", 1)), overflow);
        assert_eq!(text(add(b"-1", i64::MIN)), overflow);
        assert_eq!(add(b"0", i64::MIN).unwrap(), i64::MIN);
    }
}
