//! The readers of JSON keysets, in clear and encrypted.

use zeroize::Zeroizing;

use super::super::check::Invalid;
use super::super::proto::{self, EncryptedKeyset, Key, KeyData, KeyInfo, Keyset, KeysetInfo};
use super::value::{Name, Value};

const STATUS: [(&str, i32); 4] = [
    ("UNKNOWN_STATUS", 0),
    ("ENABLED", proto::ENABLED),
    ("DISABLED", proto::DISABLED),
    ("DESTROYED", proto::DESTROYED),
];
const PREFIX: [(&str, i32); 6] = [
    ("UNKNOWN_PREFIX", 0),
    ("TINK", proto::TINK),
    ("LEGACY", proto::LEGACY),
    ("RAW", proto::RAW),
    ("CRUNCHY", proto::CRUNCHY),
    ("WITH_ID_REQUIREMENT", 5),
];
const MATERIAL: [(&str, i32); 5] = [
    ("UNKNOWN_KEYMATERIAL", 0),
    ("SYMMETRIC", proto::SYMMETRIC),
    ("ASYMMETRIC_PRIVATE", 2),
    ("ASYMMETRIC_PUBLIC", 3),
    ("REMOTE", 4),
];

const PRIMARY_KEY_ID: Name = ("primaryKeyId", "primary_key_id");
const KEY: Name = ("key", "key");
const TYPE_URL: Name = ("typeUrl", "type_url");
const KEY_STATUS: Name = ("status", "status");
const KEY_ID: Name = ("keyId", "key_id");
const OUTPUT_PREFIX_TYPE: Name = ("outputPrefixType", "output_prefix_type");
const ENCRYPTED_KEYSET: Name = ("encryptedKeyset", "encrypted_keyset");
const KEYSET_INFO: Name = ("keysetInfo", "keyset_info");

/// What a document holds.
pub(in super::super) enum Read {
    Clear(Keyset),
    Encrypted(EncryptedKeyset),
}

/// Reads a keyset, in clear or encrypted. The names of its fields show which it is.
pub(in super::super) fn read(bytes: &[u8]) -> Result<Read, Invalid> {
    let document = Value::document(bytes)?;
    if document.has_any(&[ENCRYPTED_KEYSET, KEYSET_INFO]) {
        encrypted(&document).map(Read::Encrypted)
    } else {
        keyset(&document).map(Read::Clear)
    }
}

fn keyset(value: &Value<'_>) -> Result<Keyset, Invalid> {
    let [primary, keys] = value.fields([PRIMARY_KEY_ID, KEY])?;
    Ok(Keyset {
        primary_key_id: or_default(primary, |value| value.id())?,
        key: list(keys, key)?,
    })
}

fn key(value: &Value<'_>) -> Result<Key, Invalid> {
    const KEY_DATA: Name = ("keyData", "key_data");
    let [data, status, id, prefix] = value.fields([KEY_DATA, KEY_STATUS, KEY_ID, OUTPUT_PREFIX_TYPE])?;
    Ok(Key {
        key_data: data.map(|value| key_data(&value)).transpose()?,
        status: or_default(status, |value| value.number_of(&STATUS))?,
        key_id: or_default(id, |value| value.id())?,
        output_prefix_type: or_default(prefix, |value| value.number_of(&PREFIX))?,
    })
}

fn key_data(value: &Value<'_>) -> Result<KeyData, Invalid> {
    const VALUE: Name = ("value", "value");
    const MATERIAL_TYPE: Name = ("keyMaterialType", "key_material_type");
    let [type_url, bytes, material] = value.fields([TYPE_URL, VALUE, MATERIAL_TYPE])?;
    let mut data = KeyData {
        type_url: or_default(type_url, plain_text)?,
        value: Vec::new(),
        key_material_type: or_default(material, |value| value.number_of(&MATERIAL))?,
    };
    let mut bytes = or_default(bytes, |value| value.bytes())?;
    data.value = std::mem::take(&mut *bytes);
    Ok(data)
}

fn encrypted(value: &Value<'_>) -> Result<EncryptedKeyset, Invalid> {
    let [keyset, info] = value.fields([ENCRYPTED_KEYSET, KEYSET_INFO])?;
    let mut keyset: Zeroizing<Vec<u8>> = or_default(keyset, |value| value.bytes())?;
    Ok(EncryptedKeyset {
        encrypted_keyset: std::mem::take(&mut *keyset),
        keyset_info: info.map(|value| keyset_info(&value)).transpose()?,
    })
}

fn keyset_info(value: &Value<'_>) -> Result<KeysetInfo, Invalid> {
    const KEY_INFO: Name = ("keyInfo", "key_info");
    let [primary, keys] = value.fields([PRIMARY_KEY_ID, KEY_INFO])?;
    Ok(KeysetInfo {
        primary_key_id: or_default(primary, |value| value.id())?,
        key_info: list(keys, key_info)?,
    })
}

fn key_info(value: &Value<'_>) -> Result<KeyInfo, Invalid> {
    let [type_url, status, id, prefix] = value.fields([TYPE_URL, KEY_STATUS, KEY_ID, OUTPUT_PREFIX_TYPE])?;
    Ok(KeyInfo {
        type_url: or_default(type_url, plain_text)?,
        status: or_default(status, |value| value.number_of(&STATUS))?,
        key_id: or_default(id, |value| value.id())?,
        output_prefix_type: or_default(prefix, |value| value.number_of(&PREFIX))?,
    })
}

fn plain_text(value: &Value<'_>) -> Result<String, Invalid> {
    value.text().map(|mut text| std::mem::take(&mut *text))
}

fn list<T>(
    value: Option<Value<'_>>,
    item: impl Fn(&Value<'_>) -> Result<T, Invalid>,
) -> Result<Vec<T>, Invalid> {
    let values = value.map(|value| value.list()).transpose()?;
    values.unwrap_or_default().iter().map(item).collect()
}

fn or_default<T: Default>(
    value: Option<Value<'_>>,
    read: impl FnOnce(&Value<'_>) -> Result<T, Invalid>,
) -> Result<T, Invalid> {
    value.map_or_else(|| Ok(T::default()), |value| read(&value))
}
