//! What a read-through stores: the value with its key and its times, byte by byte.
//!
//! Not in here: whether a value is still fresh. The reader decides that, see `found.rs`.
//!
//! # Layout
//!
#![doc = include_str!("envelope.md")]

use bytes::{BufMut, Bytes, BytesMut};

const MAGIC: [u8; 3] = [0xC5, 0x52, 0x54];
const VERSION: u8 = 1;
const HEADER: usize = 32;

/// The content of an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Value(Bytes),
    Absent,
    UnderWay([u8; 16]),
}

/// A decoded envelope. Its key is the key that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) content: Content,
    pub(super) created_ms: u64,
    pub(super) expires_ms: u64,
}

impl Envelope {
    /// Returns the bytes to store under `key`, or `None` if a length does not fit the layout.
    pub(super) fn encode(&self, key: &str) -> Option<Bytes> {
        let (kind, payload): (u8, &[u8]) = match &self.content {
            Content::Value(value) => (0, value),
            Content::Absent => (1, &[]),
            Content::UnderWay(owner) => (2, owner),
        };
        let key_len = u32::try_from(key.len()).ok()?;
        let payload_len = u32::try_from(payload.len()).ok()?;
        let mut bytes = BytesMut::with_capacity(HEADER + key.len() + payload.len());
        bytes.put_slice(&MAGIC);
        bytes.put_u8(VERSION);
        bytes.put_u8(kind);
        bytes.put_bytes(0, 3);
        bytes.put_u64(self.created_ms);
        bytes.put_u64(self.expires_ms);
        bytes.put_u32(key_len);
        bytes.put_u32(payload_len);
        bytes.put_slice(key.as_bytes());
        bytes.put_slice(payload);
        Some(bytes.freeze())
    }

    /// Decodes what is stored under `key`. Returns `None` if it is not an envelope of this version and key.
    pub(super) fn decode(key: &str, stored: &Bytes) -> Option<Self> {
        let head = EnvelopeHead::read(stored)?;
        let rest = stored.get(HEADER..)?;
        let (key_len, payload_len) = (head.key_len, head.payload_len);
        if rest.len() != key_len.checked_add(payload_len)? || rest[..key_len] != *key.as_bytes() {
            return None;
        }
        let content = match head.holds {
            EnvelopeKind::Value => Content::Value(stored.slice(HEADER + key_len..)),
            EnvelopeKind::Absent => Content::Absent,
            EnvelopeKind::UnderWay => Content::UnderWay(<[u8; 16]>::try_from(&rest[key_len..]).ok()?),
        };
        Some(Self {
            content,
            created_ms: head.created_ms,
            expires_ms: head.expires_ms,
        })
    }
}

/// The kind of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvelopeKind {
    /// It holds a value.
    Value,
    /// It says that there is no value.
    Absent,
    /// It says that a load is in progress.
    UnderWay,
}

/// The first bytes of an [envelope](super#envelope), for tools that look at stored entries. The key and the value
/// follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EnvelopeHead {
    /// What the envelope holds.
    pub holds: EnvelopeKind,
    /// When the load or the put began, in milliseconds since 1970-01-01 UTC.
    pub created_ms: u64,
    /// When the value expires, in milliseconds since 1970-01-01 UTC.
    pub expires_ms: u64,
    /// The length of the key, in bytes.
    pub key_len: usize,
    /// The length of the payload, in bytes.
    pub payload_len: usize,
}

impl EnvelopeHead {
    /// Its length in bytes. The key begins after it.
    pub const LEN: usize = HEADER;

    /// Reads it from the start of stored bytes. Returns `None` if these are not an envelope of this version.
    ///
    /// The caller compares whether the lengths and the key are those of the entry.
    #[must_use]
    pub fn read(start: &[u8]) -> Option<Self> {
        let header = start.first_chunk::<HEADER>()?;
        if header[..3] != MAGIC || header[3] != VERSION || header[5..8] != [0; 3] {
            return None;
        }
        let number = |at: usize| header[at..].first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        let length = |at: usize| {
            let bytes = header[at..].first_chunk()?;
            usize::try_from(u32::from_be_bytes(*bytes)).ok()
        };
        let (key_len, payload_len) = (length(24)?, length(28)?);
        let holds = match header[4] {
            0 => EnvelopeKind::Value,
            1 if payload_len == 0 => EnvelopeKind::Absent,
            2 if payload_len == 16 => EnvelopeKind::UnderWay,
            _ => return None,
        };
        Some(Self {
            holds,
            created_ms: number(8)?,
            expires_ms: number(16)?,
            key_len,
            payload_len,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    fn envelopes() -> impl Strategy<Value = Envelope> {
        let content = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200).prop_map(|value| Content::Value(value.into())),
            Just(Content::Absent),
            any::<[u8; 16]>().prop_map(Content::UnderWay),
        ];
        (content, any::<u64>(), any::<u64>()).prop_map(|(content, created_ms, expires_ms)| Envelope {
            content,
            created_ms,
            expires_ms,
        })
    }

    #[test]
    fn these_bytes_are_version_1_for_ever() {
        let envelope = |content| Envelope {
            content,
            created_ms: 1_700_000_000_000,
            expires_ms: 1_700_000_060_000,
        };
        let value = envelope(Content::Value("hello".into()));
        let golden = b"\xC5\x52\x54\x01\x00\x00\x00\x00\
            \x00\x00\x01\x8B\xCF\xE5\x68\x00\x00\x00\x01\x8B\xCF\xE6\x52\x60\
            \x00\x00\x00\x06\x00\x00\x00\x05user:7hello";
        assert_eq!(value.encode("user:7").unwrap(), golden.as_slice());
        assert_eq!(
            Envelope::decode("user:7", &Bytes::from_static(golden)),
            Some(value)
        );

        let absent = b"\xC5\x52\x54\x01\x01\x00\x00\x00\
            \x00\x00\x01\x8B\xCF\xE5\x68\x00\x00\x00\x01\x8B\xCF\xE6\x52\x60\
            \x00\x00\x00\x01\x00\x00\x00\x00k";
        assert_eq!(envelope(Content::Absent).encode("k").unwrap(), absent.as_slice());

        let under_way = b"\xC5\x52\x54\x01\x02\x00\x00\x00\
            \x00\x00\x01\x8B\xCF\xE5\x68\x00\x00\x00\x01\x8B\xCF\xE6\x52\x60\
            \x00\x00\x00\x01\x00\x00\x00\x10k0123456789abcdef";
        let owner = *b"0123456789abcdef";
        assert_eq!(
            envelope(Content::UnderWay(owner)).encode("k").unwrap(),
            under_way.as_slice()
        );
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(envelope in envelopes(), key in "\\PC{0,40}") {
            let stored = envelope.encode(&key).unwrap();
            prop_assert_eq!(Envelope::decode(&key, &stored), Some(envelope));
        }

        #[test]
        fn another_keys_envelope_is_none(envelope in envelopes(), key in ".{0,9}", other in ".{0,9}") {
            let stored = envelope.encode(&key).unwrap();
            prop_assert_eq!(Envelope::decode(&other, &stored).is_some(), key == other);
        }

        #[test]
        fn a_cut_or_a_longer_envelope_is_none(envelope in envelopes(), cut in any::<proptest::sample::Index>()) {
            let stored = envelope.encode("key").unwrap();
            let cut = cut.index(stored.len());
            prop_assert_eq!(Envelope::decode("key", &stored.slice(..cut)), None);
            let longer = [&stored[..], b"x"].concat();
            prop_assert_eq!(Envelope::decode("key", &longer.into()), None);
        }

        #[test]
        fn a_changed_head_is_none(envelope in envelopes(), at in 0_usize..8, to in any::<u8>()) {
            let mut stored = envelope.encode("key").unwrap().to_vec();
            let before = std::mem::replace(&mut stored[at], to);
            // Byte 4 is the kind, and has several valid values.
            if before != to && at != 4 {
                prop_assert_eq!(Envelope::decode("key", &stored.into()), None);
            }
        }

        #[test]
        fn foreign_bytes_are_none_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut with_a_head = b"\xC5\x52\x54\x01\x00\x00\x00\x00".to_vec();
            with_a_head.extend(&bytes);
            prop_assert!(Envelope::decode("key", &bytes.into()).is_none());
            prop_assert!(Envelope::decode("another key", &with_a_head.into()).is_none());
        }
    }
}
