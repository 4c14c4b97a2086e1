//! The replies of a server, independent of any wire crate.

#[cfg(test)]
pub(crate) mod foreign;
mod refusal;

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use cache_core::{CacheError, integer};

pub use refusal::ServerError;

/// One reply of a server.
///
/// RESP2 servers have fewer kinds: a map comes as a flat array, a boolean as an integer, a double as bytes.
/// The methods that read a reply accept both.
///
/// `Debug` shows the kind of a reply and its size, never its content.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Reply {
    /// No value.
    Nil,
    /// An integer.
    Int(i64),
    /// Bytes. They may share a buffer of up to 64 KiB with other replies: copy bytes that you keep for long.
    Bulk(Bytes),
    /// A status such as `OK`.
    Status(Cow<'static, str>),
    /// A boolean.
    Bool(bool),
    /// A floating-point number.
    Double(f64),
    /// An array, a set, or a push.
    Array(Vec<Reply>),
    /// A map, in the server's order.
    Map(Vec<(Reply, Reply)>),
    /// A refusal. [`ValkeyClient::command`](crate::ValkeyClient::command) returns a refusal of the whole
    /// command as an error; this is one inside an array, as scripts may return.
    Error(Box<ServerError>),
}

impl Reply {
    /// The bytes, or `None` if the reply is nil.
    ///
    /// # Errors
    ///
    /// [`CacheError::Corrupt`] if the reply has another kind. The text names the kind, not the content.
    pub fn into_value(self) -> Result<Option<Bytes>, CacheError> {
        match self {
            Self::Bulk(bytes) => Ok(Some(bytes)),
            Self::Status(text) => Ok(Some(text.into_owned().into())),
            Self::Nil => Ok(None),
            other => Err(other.unexpected("bytes")),
        }
    }

    /// The integer; a boolean is 0 or 1.
    ///
    /// # Errors
    ///
    /// As [`into_value`](Self::into_value).
    pub fn into_int(self) -> Result<i64, CacheError> {
        match self {
            Self::Int(value) => Ok(value),
            Self::Bool(value) => Ok(i64::from(value)),
            other => Err(other.unexpected("an integer")),
        }
    }

    /// The number, exact over all of `i64`: an integer, or its digits.
    pub(crate) fn into_exact_int(self) -> Result<i64, CacheError> {
        match &self {
            Self::Bulk(digits) => integer::parse(digits).ok_or_else(|| self.unexpected("an integer")),
            _ => self.into_int(),
        }
    }

    /// A count, which is never negative.
    pub(crate) fn into_count(self) -> Result<u64, CacheError> {
        let value = self.into_int()?;
        u64::try_from(value).map_err(|_| Self::Int(value).unexpected("a count"))
    }

    /// The boolean; in RESP2 the integers 0 and 1.
    ///
    /// # Errors
    ///
    /// As [`into_value`](Self::into_value).
    pub fn into_bool(self) -> Result<bool, CacheError> {
        match self {
            Self::Bool(value) => Ok(value),
            Self::Int(value @ (0 | 1)) => Ok(value == 1),
            other => Err(other.unexpected("a boolean")),
        }
    }

    /// The floating-point number; in RESP2 its text. `None` if the reply is nil.
    ///
    /// # Errors
    ///
    /// As [`into_value`](Self::into_value).
    pub fn into_double(self) -> Result<Option<f64>, CacheError> {
        match &self {
            Self::Double(value) => Ok(Some(*value)),
            Self::Nil => Ok(None),
            _ => match self.as_text().and_then(|text| text.parse().ok()) {
                Some(value) => Ok(Some(value)),
                None => Err(self.unexpected("a double")),
            },
        }
    }

    /// The items of an array or a set.
    ///
    /// # Errors
    ///
    /// As [`into_value`](Self::into_value).
    pub fn into_array(self) -> Result<Vec<Self>, CacheError> {
        match self {
            Self::Array(items) => Ok(items),
            other => Err(other.unexpected("an array")),
        }
    }

    /// The pairs of a map; of the older protocol of the flat array that comes for one.
    ///
    /// # Errors
    ///
    /// As [`into_value`](Self::into_value).
    pub fn into_map(self) -> Result<Vec<(Self, Self)>, CacheError> {
        match self {
            Self::Map(pairs) => Ok(pairs),
            Self::Array(items) if items.len() % 2 == 0 => {
                let mut pairs = Vec::with_capacity(items.len() / 2);
                let mut items = items.into_iter();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    pairs.push((key, value));
                }
                Ok(pairs)
            }
            other => Err(other.unexpected("a map")),
        }
    }

    /// Text, whether it came as a status or as bytes; `None` if it is not UTF-8, or no text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Status(text) => Some(text),
            Self::Bulk(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The value of `name` in a map, or in the flat array that older protocols send for one.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Self> {
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
    fn reply_of_wrong_kind_is_corrupt_and_shows_no_bytes() {
        let error = Reply::Bulk("hunter2".into()).into_int().unwrap_err();
        assert_eq!(
            error.to_string(),
            "corrupt: the server answered 7 bytes instead of an integer"
        );
        assert!(Reply::Int(-1).into_count().is_err());
    }

    #[test]
    fn resp2_and_resp3_replies_read_the_same() {
        let pair = || (Reply::Bulk("a".into()), Reply::Int(1));
        let (key, value) = pair();
        assert_eq!(Reply::Map(vec![pair()]).into_map().unwrap(), [pair()]);
        assert_eq!(Reply::Array(vec![key, value]).into_map().unwrap(), [pair()]);
        assert!(Reply::Array(vec![Reply::Nil]).into_map().is_err());
        for reply in [Reply::Bool(true), Reply::Int(1)] {
            assert!(reply.into_bool().unwrap());
        }
        assert!(Reply::Int(2).into_bool().is_err());
        for reply in [Reply::Double(0.5), Reply::Bulk("0.5".into())] {
            assert_eq!(reply.into_double().unwrap(), Some(0.5));
        }
        assert_eq!(Reply::Nil.into_double().unwrap(), None);
        assert!(Reply::Bulk("hunter2".into()).into_double().is_err());
        for reply in [Reply::Int(i64::MAX), Reply::Bulk("9223372036854775807".into())] {
            assert_eq!(reply.into_exact_int().unwrap(), i64::MAX);
        }
        assert!(Reply::Bulk("1e3".into()).into_exact_int().is_err());
    }

    #[test]
    fn field_is_found_in_map_and_flat_array() {
        let pair = || (Reply::Bulk("version".into()), Reply::Bulk("9.1.0".into()));
        let (name, value) = pair();
        for reply in [Reply::Map(vec![pair()]), Reply::Array(vec![name, value])] {
            assert_eq!(reply.field("version").and_then(Reply::as_text), Some("9.1.0"));
            assert!(reply.field("role").is_none());
        }
    }
}
