//! Keys as they are shown: one line each in text, always readable back in JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

pub(crate) use cache_admin::escaped;

/// Text of others as it may be shown: as [`escaped`], but for the backslash, which is theirs.
pub(crate) fn plain(text: &str) -> String {
    escaped(text.as_bytes()).replace("\\\\", "\\")
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
    fn json_says_whether_it_is_text() {
        assert_eq!(Value::Object(object("key", b"k")).to_string(), r#"{"key":"k"}"#);
        assert_eq!(
            Value::Object(object("key", b"\xff")).to_string(),
            r#"{"key_base64":"/w=="}"#
        );
    }
}
