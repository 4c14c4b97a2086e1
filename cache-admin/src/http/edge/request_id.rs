//! The id of a request: the client's own where it has a decent one, else one that is made.

use std::fmt;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The header in which it comes and goes.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest that is taken from a client.
pub(crate) const MAX_LEN: usize = 128;

/// The id of one request. Printable ASCII without spaces, so that it can stand in a log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(Arc<str>);

impl RequestId {
    /// The client's, where it is 1 to 128 printable characters without spaces or quotes; else a new one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let decent = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        match given {
            Some(id) if (1..=MAX_LEN).contains(&id.len()) && id.bytes().all(decent) => Self(id.into()),
            _ => Self(format!("{:032x}", rand::random::<u128>()).into()),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn as_header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(given: &[u8]) -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_bytes(given).unwrap());
        RequestId::of(&headers)
    }

    #[test]
    fn a_decent_id_is_kept_and_any_other_replaced() {
        assert_eq!(id_for(b"deploy-42/a:1").as_str(), "deploy-42/a:1");
        for wrong in [
            &b""[..],
            b"a b",
            b"a\"b",
            b"a\tb",
            "\u{e4}".as_bytes(),
            &[b'x'; MAX_LEN + 1],
        ] {
            let made = id_for(wrong);
            assert_eq!(made.as_str().len(), 32);
            assert!(made.as_str().bytes().all(|byte| byte.is_ascii_hexdigit()));
            assert_ne!(made, id_for(wrong));
        }
    }
}
