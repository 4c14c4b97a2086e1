//! Escapes the parts of a key. The result never contains a separator, a brace, a glob character or a leading
//! segment sign, and unescaping is unambiguous.

/// Adds `part`, escaped.
pub(super) fn push_part(key: &mut String, part: &str) {
    let Some(&first) = part.as_bytes().first() else {
        // A lone percent sign is not an escape.
        key.push('%');
        return;
    };
    key.reserve(part.len());
    let marks = matches!(first, b'~' | b'+' | b'@' | b'#');
    if marks {
        push_escape(key, first);
    }
    let mut plain = usize::from(marks);
    for (at, byte) in part.bytes().enumerate().skip(plain) {
        if is_reserved(byte) {
            // Only ASCII is reserved, so these are character boundaries.
            key.push_str(&part[plain..at]);
            push_escape(key, byte);
            plain = at + 1;
        }
    }
    key.push_str(&part[plain..]);
}

/// Adds bytes as lower-case hex digits.
pub(super) fn push_hex(key: &mut String, bytes: &[u8]) {
    for byte in bytes {
        push_digits(key, *byte, b"0123456789abcdef");
    }
}

fn push_escape(key: &mut String, byte: u8) {
    key.push('%');
    push_digits(key, byte, b"0123456789ABCDEF");
}

fn push_digits(key: &mut String, byte: u8, digits: &[u8; 16]) {
    for nibble in [byte >> 4, byte & 15] {
        key.push(char::from(digits[usize::from(nibble)]));
    }
}

fn is_reserved(byte: u8) -> bool {
    matches!(
        byte,
        b'%' | b':' | b'{' | b'}' | b'*' | b'?' | b'[' | b']' | b'\\' | b' '
    ) || byte.is_ascii_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(part: &str) -> String {
        let mut key = String::new();
        push_part(&mut key, part);
        key
    }

    #[test]
    fn plain_text_stays_readable_and_reserved_bytes_are_escaped() {
        for (part, text) in [
            ("settings", "settings"),
            ("user-1_a.b@c.d/e+f~g#h", "user-1_a.b@c.d/e+f~g#h"),
            ("größe", "größe"),
            ("a:b", "a%3Ab"),
            ("100%", "100%25"),
            ("", "%"),
            ("%", "%25"),
            ("{a}", "%7Ba%7D"),
            ("*?[x]\\", "%2A%3F%5Bx%5D%5C"),
            ("a b\r\n\0\x7f", "a%20b%0D%0A%00%7F"),
            ("@x", "%40x"),
            ("~x", "%7Ex"),
            ("+1", "%2B1"),
            ("#", "%23"),
            ("é:", "é%3A"),
        ] {
            assert_eq!(escaped(part), text, "{part:?}");
        }
    }

    #[test]
    fn hex_is_lower_case() {
        let mut key = String::new();
        push_hex(&mut key, &[0x00, 0x9f, 0xff]);
        assert_eq!(key, "009fff");
    }
}
