//! Checks that a keyset can be used, with the same rules as Tink.
//!
//! Not in here: reading a keyset from its stored form.

use std::borrow::Cow;

use cache_core::CacheError;
use prost::Message as _;
use zeroize::Zeroizing;

use super::aead;
use super::info::{KeyStatus, KeysetInfo, OutputPrefix, short};
use super::proto::{self, AesGcmKey, Key, Keyset};

/// Why a keyset is refused. Contains no key material, and no text from the keyset that could be some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Invalid(Cow<'static, str>);

impl Invalid {
    pub(super) fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(reason.into())
    }
}

impl From<Invalid> for CacheError {
    fn from(Invalid(reason): Invalid) -> Self {
        Self::Corrupt {
            detail: format!("the keyset cannot be used: {reason}").into(),
            source: None,
        }
    }
}

/// Creates the usable keyset, if Tink would.
pub(super) fn usable(keyset: &Keyset) -> Result<aead::Keyset, Invalid> {
    if keyset.key.iter().all(|key| key.status == proto::DESTROYED) {
        return Err(Invalid::new("it is empty: it holds no key that is not destroyed"));
    }
    for key in &keyset.key {
        state(key)?;
    }
    primary(keyset)?;

    let mut materials = Vec::new();
    for key in keyset.key.iter().filter(|key| key.status == proto::ENABLED) {
        materials.push((key.key_id, prefix(key)?, material(key)?));
    }
    let enabled = materials
        .iter()
        .map(|(id, prefix, key)| (*id, *prefix, key.key_value.as_slice()));
    aead::Keyset::new(KeysetInfo::of(&keyset.info()), enabled)
        .ok_or_else(|| Invalid::new("AES-GCM does not take one of its keys"))
}

/// What every key must have, used or not.
fn state(key: &Key) -> Result<(), Invalid> {
    let id = key.key_id;
    match KeyStatus::of(key.status) {
        None => {
            return Err(Invalid::new(format!(
                "the status of key {id} is not ENABLED, DISABLED or DESTROYED"
            )));
        }
        Some(KeyStatus::Destroyed) => return Ok(()),
        Some(_) => {}
    }
    if key.key_data.is_none() {
        return Err(Invalid::new(format!("key {id} has no keyData")));
    }
    if key.output_prefix_type == 0 {
        return Err(Invalid::new(format!("key {id} has no outputPrefixType")));
    }
    Ok(())
}

fn primary(keyset: &Keyset) -> Result<(), Invalid> {
    let id = keyset.primary_key_id;
    let mut with_id = keyset.key.iter().filter(|key| key.key_id == id).peekable();
    if with_id.peek().is_none() {
        return Err(Invalid::new(format!(
            "its primaryKeyId is {id}, and it holds no such key"
        )));
    }
    match with_id.filter(|key| key.status == proto::ENABLED).count() {
        1 => Ok(()),
        0 => Err(Invalid::new(format!("its primary key {id} is not enabled"))),
        _ => Err(Invalid::new(format!(
            "two of its keys have the primary's id {id}"
        ))),
    }
}

fn prefix(key: &Key) -> Result<OutputPrefix, Invalid> {
    OutputPrefix::of(key.output_prefix_type).ok_or_else(|| {
        let id = key.key_id;
        Invalid::new(format!(
            "the outputPrefixType of key {id} is not TINK, LEGACY, CRUNCHY or RAW"
        ))
    })
}

/// Returns the key itself, if it is of a supported kind.
fn material(key: &Key) -> Result<AesGcmKey, Invalid> {
    let id = key.key_id;
    let Some(data) = &key.key_data else {
        return Err(Invalid::new(format!("key {id} has no keyData")));
    };
    if data.type_url != proto::AES_GCM {
        let kind = short(&data.type_url);
        return Err(Invalid::new(format!(
            "key {id} is of type {kind}, only AesGcmKey is supported (type.googleapis.com/google.crypto.tink.AesGcmKey)"
        )));
    }
    let key: AesGcmKey = proto::decode(&data.value)
        .map_err(|_| Invalid::new(format!("the value of key {id} is not a serialized AesGcmKey")))?;
    if key.version != 0 {
        let version = key.version;
        return Err(Invalid::new(format!(
            "key {id} has version {version}, only version 0 is supported"
        )));
    }
    match key.key_value.len() {
        16 | 32 => Ok(key),
        len => Err(Invalid::new(format!(
            "key {id} has {len} bytes, AES-GCM keys have 16 or 32"
        ))),
    }
}

/// A new AES-256-GCM key, serialized.
pub(super) fn new_material() -> Result<Zeroizing<Vec<u8>>, CacheError> {
    let mut key = AesGcmKey {
        version: 0,
        key_value: vec![0; 32],
    };
    aws_lc_rs::rand::fill(&mut key.key_value).map_err(|_| aead::no_randomness())?;
    Ok(Zeroizing::new(key.encode_to_vec()))
}
