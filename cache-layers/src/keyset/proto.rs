//! Tink's messages, as its `.proto` files define them.
//!
//! Not in here: what the fields may hold, see `check`.

use std::fmt;

use bytes::Bytes;
use prost::{DecodeError, Message};
use zeroize::{Zeroize as _, Zeroizing};

/// The only kind of key that is supported.
pub(super) const AES_GCM: &str = "type.googleapis.com/google.crypto.tink.AesGcmKey";

pub(super) const ENABLED: i32 = 1;
pub(super) const DISABLED: i32 = 2;
pub(super) const DESTROYED: i32 = 3;

pub(super) const TINK: i32 = 1;
pub(super) const LEGACY: i32 = 2;
pub(super) const RAW: i32 = 3;
pub(super) const CRUNCHY: i32 = 4;

/// `KeyMaterialType.SYMMETRIC`
pub(super) const SYMMETRIC: i32 = 1;

/// `google.crypto.tink.Keyset`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Keyset {
    #[prost(uint32, tag = "1")]
    pub(super) primary_key_id: u32,
    #[prost(message, repeated, tag = "2")]
    pub(super) key: Vec<Key>,
}

/// `google.crypto.tink.Keyset.Key`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Key {
    #[prost(message, optional, tag = "1")]
    pub(super) key_data: Option<KeyData>,
    #[prost(int32, tag = "2")]
    pub(super) status: i32,
    #[prost(uint32, tag = "3")]
    pub(super) key_id: u32,
    #[prost(int32, tag = "4")]
    pub(super) output_prefix_type: i32,
}

/// `google.crypto.tink.KeyData`. `value` is a serialized [`AesGcmKey`].
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct KeyData {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
    #[prost(int32, tag = "3")]
    pub(super) key_material_type: i32,
}

/// `google.crypto.tink.AesGcmKey`
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct AesGcmKey {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) key_value: Vec<u8>,
}

/// `google.crypto.tink.EncryptedKeyset`
#[derive(Clone, PartialEq, Message)]
pub(super) struct EncryptedKeyset {
    #[prost(bytes = "vec", tag = "2")]
    pub(super) encrypted_keyset: Vec<u8>,
    #[prost(message, optional, tag = "3")]
    pub(super) keyset_info: Option<KeysetInfo>,
}

/// `google.crypto.tink.KeysetInfo`: a keyset without its key material.
#[derive(Clone, PartialEq, Message)]
pub(super) struct KeysetInfo {
    #[prost(uint32, tag = "1")]
    pub(super) primary_key_id: u32,
    #[prost(message, repeated, tag = "2")]
    pub(super) key_info: Vec<KeyInfo>,
}

/// `google.crypto.tink.KeysetInfo.KeyInfo`
#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyInfo {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(int32, tag = "2")]
    pub(super) status: i32,
    #[prost(uint32, tag = "3")]
    pub(super) key_id: u32,
    #[prost(int32, tag = "4")]
    pub(super) output_prefix_type: i32,
}

/// Decodes a message and leaves no copy of its bytes behind.
///
/// From a plain slice, prost copies each bytes field through a buffer that nothing wipes. From [`Bytes`] it takes a
/// view. The view's owner is wiped when the last view is gone.
pub(super) fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, DecodeError> {
    M::decode(Bytes::from_owner(Zeroizing::new(bytes.to_vec())))
}

impl Keyset {
    pub(super) fn info(&self) -> KeysetInfo {
        let key_info = self.key.iter().map(|key| KeyInfo {
            type_url: key.type_url().to_owned(),
            status: key.status,
            key_id: key.key_id,
            output_prefix_type: key.output_prefix_type,
        });
        KeysetInfo {
            primary_key_id: self.primary_key_id,
            key_info: key_info.collect(),
        }
    }
}

impl Key {
    pub(super) fn type_url(&self) -> &str {
        self.key_data.as_ref().map_or("", |data| &data.type_url)
    }
}

impl Drop for KeyData {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

impl Drop for AesGcmKey {
    fn drop(&mut self) {
        self.key_value.zeroize();
    }
}

impl fmt::Debug for KeyData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyData")
            .field("type_url", &self.type_url)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AesGcmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AesGcmKey")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
