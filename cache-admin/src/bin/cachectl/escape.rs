//! Keys as they are shown: one line each in text, always readable back in JSON.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// A key in text: control characters and what is no UTF-8 as `\xNN`, the backslash doubled.
pub(crate) fn escaped(key: &[u8]) -> String {
    let mut text = String::with_capacity(key.len());
    for chunk in key.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '\\' {
                text.push_str("\\\\");
            } else if character.is_control() {
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

fn push_bytes(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "\\x{byte:02x}");
    }
}

/// Puts `bytes` into `object`: as text under `name`, or, where they are no UTF-8, as base64 under
/// `name_base64`.
pub(crate) fn put(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => object.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    };
}

/// As [`put`], into a value that is an object.
pub(crate) fn put_value(value: &mut Value, name: &str, bytes: &[u8]) {
    if let Some(object) = value.as_object_mut() {
        put(object, name, bytes);
    }
}

/// An object of nothing but these bytes, as [`put`] does it.
pub(crate) fn object(name: &str, bytes: &[u8]) -> Map<String, Value> {
    let mut object = Map::new();
    put(&mut object, name, bytes);
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_line_and_no_two_look_alike() {
        assert_eq!(escaped("billing:é:1".as_bytes()), "billing:é:1");
        assert_eq!(escaped(b"a\nb\xff\x1b[0m"), "a\\x0ab\\xff\\x1b[0m");
        assert_eq!(escaped(b"a\\xff"), "a\\\\xff");
    }

    #[test]
    fn json_says_whether_it_is_text() {
        assert_eq!(Value::Object(object("key", b"k")).to_string(), r#"{"key":"k"}"#);
        assert_eq!(
            Value::Object(object("key", b"\xff")).to_string(),
            r#"{"key_base64":"/w=="}"#
        );
    }
}
