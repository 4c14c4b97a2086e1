//! `Idempotency-Key`: what tells a retry from a second request.

use axum::extract::FromRequestParts;
use axum::http::HeaderName;
use axum::http::request::Parts;

use crate::http::problem::{Kind, Problem};

/// The header.
const NAME: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest key.
pub(crate) const MAX_LEN: usize = 255;

/// The key of a request that may be sent again, where the client gave one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RetryKey(pub(crate) Option<String>);

impl<S: Sync> FromRequestParts<S> for RetryKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut keys = parts.headers.get_all(NAME).iter();
        let (key, more) = (keys.next(), keys.next());
        let Some(key) = key else {
            return Ok(Self(None));
        };
        let wrong = || {
            Problem::new(
                Kind::InvalidHeader,
                "Idempotency-Key: has to be given once, 1 to 255 printable characters without spaces",
            )
        };
        let key = key.to_str().map_err(|_| wrong())?;
        // A structured field puts strings in quotes.
        let bare = key
            .strip_prefix('"')
            .and_then(|key| key.strip_suffix('"'))
            .unwrap_or(key);
        let printable = bare
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
        if more.is_some() || !(1..=MAX_LEN).contains(&bare.len()) || !printable {
            return Err(wrong());
        }
        Ok(Self(Some(bare.to_owned())))
    }
}
