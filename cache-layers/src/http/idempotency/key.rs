//! Reads `Idempotency-Key`.

use http::{HeaderMap, HeaderName};

pub(super) const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// The longest key, as in other APIs with this field.
const MAX_LEN: usize = 255;

/// The field is present, but is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Returns the key of a request, or `None` if it has none.
///
/// The key is a string of a structured field (RFC 8941), as in the draft: `"8e03978e"`. Its parameters are ignored.
/// Or it is bare, as most clients send it: `8e03978e`. Both are the same key.
pub(super) fn of(headers: &HeaderMap) -> Result<Option<String>, Malformed> {
    let mut fields = headers.get_all(HEADER).iter();
    let Some(field) = fields.next() else {
        return Ok(None);
    };
    if fields.next().is_some() {
        return Err(Malformed);
    }
    let text = field.to_str().map_err(|_| Malformed)?.trim_matches([' ', '\t']);
    let key = match text.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None if text.bytes().all(is_bare) => text.to_owned(),
        None => return Err(Malformed),
    };
    if key.is_empty() || key.len() > MAX_LEN {
        return Err(Malformed);
    }
    Ok(Some(key))
}

/// Whether a bare key may contain `byte`: visible characters, except separators and quotes.
const fn is_bare(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

/// Reads a string whose opening quote has been read.
fn unquoted(text: &str) -> Result<String, Malformed> {
    let mut key = String::with_capacity(text.len());
    let mut characters = text.chars();
    loop {
        match characters.next().ok_or(Malformed)? {
            '"' => break,
            '\\' => match characters.next() {
                Some(escaped @ ('"' | '\\')) => key.push(escaped),
                _ => return Err(Malformed),
            },
            character @ ' '..='~' => key.push(character),
            _ => return Err(Malformed),
        }
    }
    let rest = characters.as_str();
    if rest.is_empty() || rest.starts_with(';') {
        Ok(key)
    } else {
        Err(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn read(field: &[u8]) -> Result<Option<String>, Malformed> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_bytes(field).unwrap());
        of(&headers)
    }

    #[test]
    fn quoted_and_bare_are_the_same_key() {
        for (field, key) in [
            (r#""8e03978e-40d5""#, "8e03978e-40d5"),
            ("8e03978e-40d5", "8e03978e-40d5"),
            (" 8e03978e-40d5\t", "8e03978e-40d5"),
            (r#""a b, c;d""#, "a b, c;d"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            (r#""a";v=1"#, "a"),
            ("a+/=:~", "a+/=:~"),
            (&"k".repeat(255), &"k".repeat(255)),
        ] {
            assert_eq!(read(field.as_bytes()), Ok(Some(key.to_owned())), "{field}");
        }
        assert_eq!(of(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn what_is_no_key_is_malformed() {
        for field in [
            "",
            "  ",
            r#""""#,
            r#"""#,
            r#""a"#,
            r#""a"b"#,
            r#""a\b""#,
            r#"a"b"#,
            "a b",
            "a,b",
            "a;b",
            "a\\b",
            "größe",
            &"k".repeat(256),
            &format!("\"{}\"", "k".repeat(256)),
        ] {
            assert_eq!(read(field.as_bytes()), Err(Malformed), "{field}");
        }
    }

    #[test]
    fn two_fields_are_malformed() {
        let mut headers = HeaderMap::new();
        headers.append(HEADER, HeaderValue::from_static("a"));
        headers.append(HEADER, HeaderValue::from_static("a"));
        assert_eq!(of(&headers), Err(Malformed));
    }

    proptest! {
        #[test]
        fn any_string_of_a_structured_field_is_read_back(key in "[ -~]{1,255}") {
            let field = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(read(field.as_bytes()), Ok(Some(key)));
        }

        #[test]
        fn any_field_is_a_key_or_malformed_and_never_a_panic(
            field in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            if HeaderValue::from_bytes(&field).is_ok()
                && let Ok(key) = read(&field)
            {
                let key = key.unwrap();
                prop_assert!(key.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            }
        }
    }
}
