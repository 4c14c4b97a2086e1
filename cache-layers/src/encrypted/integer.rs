//! What a counter looks like: the text that a server takes for an integer.

/// The integer that `value` is: decimal, perhaps a minus sign, no leading zero, no `-0`, within `i64`.
pub(super) fn parse(value: &[u8]) -> Option<i64> {
    // Almost every value is something else, and the first byte says so.
    match value.strip_prefix(b"-").unwrap_or(value) {
        [b'0'] if value.len() == 1 => Some(0),
        [b'1'..=b'9', rest @ ..] if rest.len() < 19 && rest.iter().all(u8::is_ascii_digit) => {
            str::from_utf8(value).ok()?.parse().ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integer_is_what_a_server_takes_for_one() {
        for number in [0, 7, -1, 10, i64::MAX, i64::MIN] {
            assert_eq!(parse(number.to_string().as_bytes()), Some(number));
        }
        let texts = [
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
            "1\0",
            "--1",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999999",
        ];
        for text in texts {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
