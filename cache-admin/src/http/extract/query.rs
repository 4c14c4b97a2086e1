//! The query of a request.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::http::problem::{Kind, Problem};

/// The query, as `T`, which has to refuse what it does not know. What is no UTF-8 is refused and not replaced: a
/// key must not become another one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<T>(pub(crate) T);

/// A route without query parameters.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoQuery {}

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if let Err(detail) = decodes(parts.uri.query().unwrap_or_default()) {
            return Err(Problem::new(Kind::InvalidQuery, detail));
        }
        match axum::extract::Query::<T>::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => {
                let text = rejection.body_text();
                let detail = text
                    .strip_prefix("Failed to deserialize query string: ")
                    .unwrap_or(&text);
                Err(Problem::new(Kind::InvalidQuery, detail.to_owned()))
            }
        }
    }
}

/// Whether all that is percent-encoded is well-formed, and UTF-8.
fn decodes(query: &str) -> Result<(), &'static str> {
    let mut bytes = Vec::with_capacity(query.len());
    let mut rest = query.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || {
            let digit = char::from(rest.next()?).to_digit(16)?;
            u8::try_from(digit).ok()
        };
        match (digit(), digit()) {
            (Some(high), Some(low)) => bytes.push((high << 4) | low),
            _ => return Err("a % is followed by two hexadecimal digits; % itself is %25"),
        }
    }
    match std::str::from_utf8(&bytes) {
        Ok(_) => Ok(()),
        Err(_) => Err("what is no UTF-8 goes into the parameter of the same name with _base64"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_decoded_is_refused() {
        for fine in ["", "key=a", "key=%C3%A4", "key=%25&key", "key=a+b", "k%65y=%00"] {
            assert!(decodes(fine).is_ok(), "{fine}");
        }
        for wrong in [
            "key=%", "key=%4", "key=%zz", "key=%ff", "key=%C3", "%ff=1", "key=%+1",
        ] {
            assert!(decodes(wrong).is_err(), "{wrong}");
        }
    }
}
