//! Parts of requests and answers that several routes share. Not in here: what only one route knows.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::KeyType;

/// The name of a key: as text, or in base64 where it is no text.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct KeyName {
    /// The name, where it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) key: Option<String>,
    /// The name in base64, where it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) key_base64: Option<String>,
}

impl KeyName {
    /// A key as callers know it: without what the configuration puts before it.
    pub(crate) fn of(key: &[u8], prefix: &str) -> Self {
        let key = key.strip_prefix(prefix.as_bytes()).unwrap_or(key);
        match std::str::from_utf8(key) {
            Ok(text) => Self {
                key: Some(text.to_owned()),
                key_base64: None,
            },
            Err(_) => Self {
                key: None,
                key_base64: Some(STANDARD.encode(key)),
            },
        }
    }
}

/// The type of what a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TypeName {
    String,
    List,
    Set,
    Zset,
    Hash,
    Stream,
    Other,
}

impl From<TypeName> for KeyType {
    fn from(name: TypeName) -> Self {
        match name {
            TypeName::String => Self::String,
            TypeName::List => Self::List,
            TypeName::Set => Self::Set,
            TypeName::Zset => Self::SortedSet,
            TypeName::Hash => Self::Hash,
            TypeName::Stream => Self::Stream,
            TypeName::Other => Self::Other,
        }
    }
}

impl From<KeyType> for TypeName {
    fn from(kind: KeyType) -> Self {
        match kind {
            KeyType::String => Self::String,
            KeyType::List => Self::List,
            KeyType::Set => Self::Set,
            KeyType::SortedSet => Self::Zset,
            KeyType::Hash => Self::Hash,
            KeyType::Stream => Self::Stream,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_text_is_base64_and_the_prefix_is_not_shown() {
        let text = KeyName::of(b"shop:a", "shop:");
        assert_eq!((text.key.as_deref(), text.key_base64), (Some("a"), None));
        let bytes = KeyName::of(b"shop:\xff", "shop:");
        assert_eq!((bytes.key, bytes.key_base64.as_deref()), (None, Some("/w==")));
    }
}
