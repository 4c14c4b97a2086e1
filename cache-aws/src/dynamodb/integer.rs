//! Which values are integers: those that DynamoDB stores as numbers, so that it can add to them.

/// The integer that `value` is the decimal text of: perhaps a minus sign, no leading zero, no `-0`, no space, no plus
/// sign, within `i64`. Such a text comes back from the number exactly as it was.
pub(super) fn parse(value: &[u8]) -> Option<i64> {
    match value.strip_prefix(b"-").unwrap_or(value) {
        [b'0'] if value.len() == 1 => Some(0),
        [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(value).ok()?.parse().ok()
        }
        _ => None,
    }
}

/// The least and the greatest number to which `delta` can be added within `i64`.
pub(super) const fn bounds(delta: i64) -> (i64, i64) {
    if delta >= 0 {
        (i64::MIN, i64::MAX - delta)
    } else {
        (i64::MIN - delta, i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_text_of_a_number_itself_is_an_integer() {
        for number in [0, 7, -1, 10, i64::MAX, i64::MIN] {
            assert_eq!(parse(number.to_string().as_bytes()), Some(number));
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
            "１",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn an_integer_is_the_text_of_its_number(text in "-?[0-9]{0,20}") {
            if let Some(number) = parse(text.as_bytes()) {
                prop_assert_eq!(number.to_string(), text);
            }
        }

        #[test]
        fn bounds_are_what_can_be_added(number: i64, delta: i64) {
            let (least, most) = bounds(delta);
            prop_assert_eq!((least..=most).contains(&number), number.checked_add(delta).is_some());
        }
    }
}
