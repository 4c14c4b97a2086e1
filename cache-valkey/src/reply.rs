//! What a server answers, free of any wire crate.

#[cfg(test)]
pub(crate) mod foreign;

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use cache_core::CacheError;

/// One reply of a server.
#[derive(Clone, PartialEq)]
pub(crate) enum Reply {
    Nil,
    Int(i64),
    Bulk(Bytes),
    /// A status such as `OK`.
    Status(Cow<'static, str>),
    Bool(bool),
    Double(f64),
    /// An array, a set, or a push.
    Array(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
    /// The server refused this one command.
    Error(Box<ServerError>),
}

/// A server's refusal: its code (`WRONGTYPE`) and its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerError {
    pub(crate) code: String,
    pub(crate) detail: String,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server said {} {}", self.code, self.detail)
    }
}

impl std::error::Error for ServerError {}

impl Reply {
    /// Bytes, or nothing where the reply is nil.
    pub(crate) fn into_value(self) -> Result<Option<Bytes>, CacheError> {
        match self {
            Self::Bulk(bytes) => Ok(Some(bytes)),
            Self::Status(text) => Ok(Some(text.into_owned().into())),
            Self::Nil => Ok(None),
            other => Err(other.unexpected("bytes")),
        }
    }

    /// An integer.
    pub(crate) fn into_int(self) -> Result<i64, CacheError> {
        match self {
            Self::Int(value) => Ok(value),
            Self::Bool(value) => Ok(i64::from(value)),
            other => Err(other.unexpected("an integer")),
        }
    }

    /// A count, which is never negative.
    pub(crate) fn into_count(self) -> Result<u64, CacheError> {
        let value = self.into_int()?;
        u64::try_from(value).map_err(|_| Self::Int(value).unexpected("a count"))
    }

    /// An array.
    pub(crate) fn into_array(self) -> Result<Vec<Self>, CacheError> {
        match self {
            Self::Array(items) => Ok(items),
            other => Err(other.unexpected("an array")),
        }
    }

    /// Text, whether it came as a status or as bytes.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Status(text) => Some(text),
            Self::Bulk(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The value of `name` in a map, or in the flat array that older protocols send for one.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(pairs) => pairs
                .iter()
                .find(|(key, _)| key.as_text() == Some(name))
                .map(|(_, value)| value),
            Self::Array(items) => items
                .chunks_exact(2)
                .find(|pair| pair[0].as_text() == Some(name))
                .map(|pair| &pair[1]),
            _ => None,
        }
    }

    /// The error for a reply of another shape than the command's.
    pub(crate) fn unexpected(&self, wanted: &str) -> CacheError {
        CacheError::Corrupt {
            detail: format!("the server answered {self:?} instead of {wanted}").into(),
            source: None,
        }
    }
}

impl fmt::Debug for Reply {
    /// Shows the shape, never the bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Int(_) => f.write_str("an integer"),
            Self::Bulk(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Status(_) => f.write_str("a status"),
            Self::Bool(_) => f.write_str("a boolean"),
            Self::Double(_) => f.write_str("a double"),
            Self::Array(items) => write!(f, "an array of {}", items.len()),
            Self::Map(pairs) => write!(f, "a map of {}", pairs.len()),
            Self::Error(error) => write!(f, "the error {}", error.code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_of_another_shape_is_corrupt_and_shows_no_bytes() {
        let error = Reply::Bulk("hunter2".into()).into_int().unwrap_err();
        assert_eq!(
            error.to_string(),
            "corrupt: the server answered 7 bytes instead of an integer"
        );
        assert!(Reply::Int(-1).into_count().is_err());
    }

    #[test]
    fn a_field_is_found_in_a_map_and_in_a_flat_array() {
        let pair = || (Reply::Bulk("version".into()), Reply::Bulk("9.1.0".into()));
        let (name, value) = pair();
        for reply in [Reply::Map(vec![pair()]), Reply::Array(vec![name, value])] {
            assert_eq!(reply.field("version").and_then(Reply::as_text), Some("9.1.0"));
            assert!(reply.field("role").is_none());
        }
    }
}
