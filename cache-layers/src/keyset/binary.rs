//! Keysets as protocol buffers.
//!
//! A `Keyset` and an `EncryptedKeyset` can be distinguished although neither names itself. Field 1 is only in the
//! first, where it is a number. Field 3 is only in the second. And a ciphertext in field 2 does not decode as a key.

use bytes::Buf as _;
use cache_core::Secret;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::check::Invalid;
use super::json::Read;
use super::proto::{self, EncryptedKeyset, Key};

/// Reads a keyset, in clear or encrypted.
pub(super) fn read(bytes: &[u8]) -> Result<Read, Invalid> {
    let seen = fields(bytes).ok_or_else(unreadable)?;
    let is_clear = if seen.primary_key_id {
        !seen.keyset_info
    } else {
        !seen.keyset_info && seen.all_are_keys
    };
    if is_clear {
        proto::decode(bytes).map(Read::Clear).map_err(|_| unreadable())
    } else {
        proto::decode(bytes)
            .map(Read::Encrypted)
            .map_err(|_| unreadable())
    }
}

/// A message's bytes.
pub(super) fn write(message: &impl Message) -> Secret<Vec<u8>> {
    Secret::new(message.encode_to_vec())
}

fn unreadable() -> Invalid {
    Invalid::new("it is neither JSON nor a binary keyset")
}

/// Which fields a message has.
struct Seen {
    primary_key_id: bool,
    keyset_info: bool,
    /// Whether field 2 is present, and each time as a key with a type.
    all_are_keys: bool,
}

fn fields(mut bytes: &[u8]) -> Option<Seen> {
    let mut seen = Seen {
        primary_key_id: false,
        keyset_info: false,
        all_are_keys: !bytes.is_empty(),
    };
    while bytes.has_remaining() {
        match decode_key(&mut bytes).ok()? {
            (1, WireType::Varint) => {
                decode_varint(&mut bytes).ok()?;
                seen.primary_key_id = true;
            }
            (2, WireType::LengthDelimited) => {
                let len = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
                let (field, rest) = bytes.split_at_checked(len)?;
                bytes = rest;
                let key: Result<Key, _> = proto::decode(field);
                seen.all_are_keys &= key.is_ok_and(|key| !key.type_url().is_empty());
            }
            (3, WireType::LengthDelimited) => {
                skip_field(WireType::LengthDelimited, 3, &mut bytes, DecodeContext::default()).ok()?;
                seen.keyset_info = true;
            }
            (tag, wire_type) => skip_field(wire_type, tag, &mut bytes, DecodeContext::default()).ok()?,
        }
    }
    Some(seen)
}

/// An encrypted keyset's message.
pub(super) fn encrypted(ciphertext: Vec<u8>, keyset: &proto::Keyset) -> EncryptedKeyset {
    EncryptedKeyset {
        encrypted_keyset: ciphertext,
        keyset_info: Some(keyset.info()),
    }
}
