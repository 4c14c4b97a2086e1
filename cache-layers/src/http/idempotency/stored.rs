//! The stored form of a response: status, chosen header lines and body, byte by byte.
//!
//! # Layout
//!
#![doc = include_str!("stored.md")]

use bytes::{Buf as _, BufMut, Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

const VERSION: u8 = 1;
const START: usize = 6;

/// A stored response.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(super) struct Stored {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// `None` if it was too large, or a stream.
    pub(super) body: Option<Bytes>,
}

/// Returns the header lines of `from` that are stored.
pub(super) fn chosen(from: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in names {
        for value in from.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

impl Stored {
    /// A response without its body.
    pub(super) fn head(parts: &Parts, names: &[HeaderName]) -> Self {
        Self {
            status: parts.status,
            headers: chosen(&parts.headers, names),
            body: None,
        }
    }

    /// The number of bytes it takes without a body.
    pub(super) fn head_len(&self) -> usize {
        let line = |(name, value): (&HeaderName, &HeaderValue)| 6 + name.as_str().len() + value.len();
        START + self.headers.iter().map(line).sum::<usize>()
    }

    /// Returns the bytes to store, or `None` if a length does not fit the layout.
    pub(super) fn encode(&self) -> Option<Bytes> {
        let body = self.body.as_deref().unwrap_or_default();
        let mut bytes = BytesMut::with_capacity(self.head_len() + body.len());
        bytes.put_u8(VERSION);
        bytes.put_u8(self.body.is_none().into());
        bytes.put_u16(self.status.as_u16());
        bytes.put_u16(u16::try_from(self.headers.len()).ok()?);
        for (name, value) in &self.headers {
            bytes.put_u16(u16::try_from(name.as_str().len()).ok()?);
            bytes.put_slice(name.as_str().as_bytes());
            bytes.put_u32(u32::try_from(value.len()).ok()?);
            bytes.put_slice(value.as_bytes());
        }
        bytes.put_slice(body);
        Some(bytes.freeze())
    }

    /// Decodes stored bytes. Returns `None` if they are not a response of this version.
    pub(super) fn decode(mut bytes: Bytes) -> Option<Self> {
        if bytes.try_get_u8().ok()? != VERSION {
            return None;
        }
        let not_kept = match bytes.try_get_u8().ok()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let status = StatusCode::from_u16(bytes.try_get_u16().ok()?).ok()?;
        let lines = bytes.try_get_u16().ok()?;
        let mut headers = HeaderMap::new();
        for _ in 0..lines {
            let name_len = usize::from(bytes.try_get_u16().ok()?);
            let name = HeaderName::from_bytes(&taken(&mut bytes, name_len)?).ok()?;
            let value_len = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
            let value = HeaderValue::from_maybe_shared(taken(&mut bytes, value_len)?).ok()?;
            headers.try_append(name, value).ok()?;
        }
        if not_kept && !bytes.is_empty() {
            return None;
        }
        Some(Self {
            status,
            headers,
            body: (!not_kept).then_some(bytes),
        })
    }
}

fn taken(bytes: &mut Bytes, len: usize) -> Option<Bytes> {
    (len <= bytes.len()).then(|| bytes.split_to(len))
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn response(headers: &[(HeaderName, &str)], body: Option<&'static str>) -> Stored {
        let lines = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        Stored {
            status: StatusCode::CREATED,
            headers: lines.collect(),
            body: body.map(Bytes::from),
        }
    }

    #[test]
    fn these_bytes_are_version_1_for_ever() {
        let whole = response(&[(LOCATION, "/orders/7")], Some("hello"));
        let golden = b"\x01\x00\x00\xC9\x00\x01\
            \x00\x08location\x00\x00\x00\x09/orders/7hello";
        assert_eq!(whole.encode().unwrap(), golden.as_slice());
        assert_eq!(Stored::decode(Bytes::from_static(golden)), Some(whole));

        let head = response(&[], None);
        assert_eq!(head.encode().unwrap(), b"\x01\x01\x00\xC9\x00\x00".as_slice());
        let empty = response(&[], Some(""));
        assert_eq!(empty.encode().unwrap(), b"\x01\x00\x00\xC9\x00\x00".as_slice());
        assert_eq!(head.head_len(), 6);
    }

    #[test]
    fn only_chosen_lines_are_kept_and_all_of_a_name() {
        let from: HeaderMap = [
            (CONTENT_TYPE, "text/plain"),
            (SET_COOKIE, "session=secret"),
            (LOCATION, "/a"),
        ]
        .into_iter()
        .map(|(name, value)| (name, HeaderValue::from_static(value)))
        .collect();
        let mut from = from;
        from.append(LOCATION, HeaderValue::from_static("/b"));
        let kept = chosen(&from, &[LOCATION, CONTENT_TYPE]);
        assert_eq!(kept.len(), 3);
        assert_eq!(kept.get_all(LOCATION).iter().count(), 2);
        assert!(!kept.contains_key(SET_COOKIE));
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            status in 100_u16..1_000,
            lines in proptest::collection::vec(("[a-z][a-z-]{0,20}", "[ -~]{0,40}"), 0..6),
            body in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200)),
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
            }
            let stored = Stored {
                status: StatusCode::from_u16(status).unwrap(),
                headers,
                body: body.map(Bytes::from),
            };
            let bytes = stored.encode().unwrap();
            prop_assert_eq!(bytes.len(), stored.head_len() + stored.body.as_ref().map_or(0, |body| body.len()));
            prop_assert_eq!(Stored::decode(bytes), Some(stored));
        }

        #[test]
        fn a_cut_head_is_none(cut in 0_usize..32) {
            let bytes = response(&[(LOCATION, "/orders/7")], None).encode().unwrap();
            prop_assert!(cut >= bytes.len() || Stored::decode(bytes.slice(..cut)).is_none());
        }

        #[test]
        fn foreign_bytes_are_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut with_a_head = b"\x01\x00\x00\xC9".to_vec();
            with_a_head.extend(&bytes);
            let _whatever = Stored::decode(with_a_head.into());
            if bytes.first() != Some(&VERSION) {
                prop_assert!(Stored::decode(bytes.into()).is_none());
            }
        }
    }
}
