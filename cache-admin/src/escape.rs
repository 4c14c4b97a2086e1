//! Bytes that are mostly text, as one line that can be read back.

use std::fmt::Write as _;

/// Bytes in text: control characters, separators of lines, marks that turn the direction of writing, and what
/// is no UTF-8 as `\xNN`, the backslash doubled. No two texts are alike, and each is one line.
#[must_use]
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '\\' {
                text.push_str("\\\\");
            } else if character.is_control() || misleads(character) {
                let mut utf8 = [0; 4];
                push_bytes(&mut text, character.encode_utf8(&mut utf8).as_bytes());
            } else {
                text.push(character);
            }
        }
        push_bytes(&mut text, chunk.invalid());
    }
    text
}

/// The bytes that [`escaped`] has made `text` of; `None` where it did not.
#[must_use]
pub fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest {
            [b'\\', after @ ..] => {
                bytes.push(b'\\');
                rest = after;
            }
            [b'x', digits @ ..] if digits.len() >= 2 => {
                let (digits, after) = digits.split_at(2);
                let [high, low] = [digits[0], digits[1]].map(|digit| char::from(digit).to_digit(16));
                bytes.push(u8::try_from(high? * 16 + low?).ok()?);
                rest = after;
            }
            _ => return None,
        }
    }
    Some(bytes)
}

/// Whether a terminal or a viewer would show the text after it elsewhere than it stands.
const fn misleads(character: char) -> bool {
    matches!(
        character,
        '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

fn push_bytes(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_line_and_no_two_look_alike() {
        assert_eq!(escaped("billing:é:1".as_bytes()), "billing:é:1");
        assert_eq!(escaped(b"a\nb\xff\x1b[0m"), "a\\x0ab\\xff\\x1b[0m");
        assert_eq!(escaped(b"a\\xff"), "a\\\\xff");
        assert_eq!(escaped("a\u{202e}b".as_bytes()), "a\\xe2\\x80\\xaeb");
    }

    #[test]
    fn what_is_no_escape_is_not_read() {
        for wrong in ["\\", "\\x", "\\xf", "\\xzz", "\\n", "\\x+1"] {
            let read = unescaped(wrong);
            assert!(read.is_none(), "{wrong} was read as {read:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_key_is_read_back(key in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
            let text = escaped(&key);
            proptest::prop_assert!(!text.chars().any(char::is_control));
            proptest::prop_assert_eq!(unescaped(&text), Some(key));
        }
    }
}
