//! The bytes stored under an idempotency key.
//!
//! Not in here: the meaning of a response. To a record it is bytes.
//!
//! # Layout
//!
#![doc = include_str!("record.md")]

use bytes::{BufMut, Bytes, BytesMut};

use super::Fingerprint;

const MAGIC: [u8; 3] = [0xC5, 0x49, 0x44];
const VERSION: u8 = 1;
const HEADER: usize = 48;

/// How far the request has come.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(super) enum State {
    InProgress([u8; 16]),
    Completed(Bytes),
    NotKept,
}

/// A decoded record. Its key is the key that was read.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(super) struct Record {
    pub(super) fingerprint: Fingerprint,
    pub(super) state: State,
}

impl Record {
    /// Returns the bytes to store under `key`, or `None` if a length does not fit the layout.
    pub(super) fn encode(&self, key: &str) -> Option<Bytes> {
        let (kind, payload): (u8, &[u8]) = match &self.state {
            State::InProgress(owner) => (0, owner),
            State::Completed(response) => (1, response),
            State::NotKept => (2, &[]),
        };
        let key_len = u32::try_from(key.len()).ok()?;
        let payload_len = u32::try_from(payload.len()).ok()?;
        let mut bytes = BytesMut::with_capacity(HEADER + key.len() + payload.len());
        bytes.put_slice(&MAGIC);
        bytes.put_u8(VERSION);
        bytes.put_u8(kind);
        bytes.put_bytes(0, 3);
        bytes.put_slice(self.fingerprint.as_bytes());
        bytes.put_u32(key_len);
        bytes.put_u32(payload_len);
        bytes.put_slice(key.as_bytes());
        bytes.put_slice(payload);
        Some(bytes.freeze())
    }

    /// Decodes what is stored under `key`. Returns `None` if it is not a record of this version and key.
    pub(super) fn decode(key: &str, stored: &Bytes) -> Option<Self> {
        let (header, rest) = stored.split_first_chunk::<HEADER>()?;
        if header[..3] != MAGIC || header[3] != VERSION || header[5..8] != [0; 3] {
            return None;
        }
        let length = |at: usize| {
            let bytes = header[at..].first_chunk()?;
            usize::try_from(u32::from_be_bytes(*bytes)).ok()
        };
        let (key_len, payload_len) = (length(40)?, length(44)?);
        if rest.len() != key_len.checked_add(payload_len)? || rest[..key_len] != *key.as_bytes() {
            return None;
        }
        let state = match header[4] {
            0 => State::InProgress(<[u8; 16]>::try_from(&rest[key_len..]).ok()?),
            1 => State::Completed(stored.slice(HEADER + key_len..)),
            2 if payload_len == 0 => State::NotKept,
            _ => return None,
        };
        Some(Self {
            fingerprint: Fingerprint::from(*header[8..].first_chunk::<32>()?),
            state,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    fn records() -> impl Strategy<Value = Record> {
        let state = prop_oneof![
            any::<[u8; 16]>().prop_map(State::InProgress),
            proptest::collection::vec(any::<u8>(), 0..200)
                .prop_map(|response| State::Completed(response.into())),
            Just(State::NotKept),
        ];
        (state, any::<[u8; 32]>()).prop_map(|(state, fingerprint)| Record {
            fingerprint: fingerprint.into(),
            state,
        })
    }

    #[test]
    fn these_bytes_are_version_1_for_ever() {
        let record = |state| Record {
            fingerprint: Fingerprint::from(*b"0123456789abcdef0123456789ABCDEF"),
            state,
        };
        let completed = record(State::Completed("hello".into()));
        let golden = b"\xC5\x49\x44\x01\x01\x00\x00\x00\
            0123456789abcdef0123456789ABCDEF\
            \x00\x00\x00\x07\x00\x00\x00\x05order:7hello";
        assert_eq!(completed.encode("order:7").unwrap(), golden.as_slice());
        assert_eq!(
            Record::decode("order:7", &Bytes::from_static(golden)),
            Some(completed)
        );

        let in_progress = b"\xC5\x49\x44\x01\x00\x00\x00\x00\
            0123456789abcdef0123456789ABCDEF\
            \x00\x00\x00\x01\x00\x00\x00\x10kfedcba9876543210";
        let owner = *b"fedcba9876543210";
        assert_eq!(
            record(State::InProgress(owner)).encode("k").unwrap(),
            in_progress.as_slice()
        );

        let not_kept = b"\xC5\x49\x44\x01\x02\x00\x00\x00\
            0123456789abcdef0123456789ABCDEF\
            \x00\x00\x00\x01\x00\x00\x00\x00k";
        assert_eq!(record(State::NotKept).encode("k").unwrap(), not_kept.as_slice());
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(record in records(), key in "\\PC{0,40}") {
            let stored = record.encode(&key).unwrap();
            prop_assert_eq!(Record::decode(&key, &stored), Some(record));
        }

        #[test]
        fn another_keys_record_is_none(record in records(), key in ".{0,9}", other in ".{0,9}") {
            let stored = record.encode(&key).unwrap();
            prop_assert_eq!(Record::decode(&other, &stored).is_some(), key == other);
        }

        #[test]
        fn a_cut_or_a_longer_record_is_none(record in records(), cut in any::<proptest::sample::Index>()) {
            let stored = record.encode("key").unwrap();
            let cut = cut.index(stored.len());
            prop_assert_eq!(Record::decode("key", &stored.slice(..cut)), None);
            let longer = [&stored[..], b"x"].concat();
            prop_assert_eq!(Record::decode("key", &longer.into()), None);
        }

        #[test]
        fn a_changed_head_is_none(record in records(), at in 0_usize..8, to in any::<u8>()) {
            let mut stored = record.encode("key").unwrap().to_vec();
            let before = std::mem::replace(&mut stored[at], to);
            // Byte 4 is the kind, and has several valid values.
            if before != to && at != 4 {
                prop_assert_eq!(Record::decode("key", &stored.into()), None);
            }
        }

        #[test]
        fn foreign_bytes_are_none_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut with_a_head = b"\xC5\x49\x44\x01\x01\x00\x00\x00".to_vec();
            with_a_head.extend(&bytes);
            prop_assert!(Record::decode("key", &bytes.into()).is_none());
            prop_assert!(Record::decode("another key", &with_a_head.into()).is_none());
        }
    }
}
