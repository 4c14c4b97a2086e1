//! What may be shown of a keyset: ids, status and kinds of its keys, never key material.

use std::fmt;

use super::proto;

/// What may be shown of a keyset.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeysetInfo {
    /// The id of the key that seals.
    pub primary_key_id: u32,
    /// All keys, in their order in the keyset.
    pub keys: Vec<KeyInfo>,
}

/// What may be shown of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyInfo {
    /// The key's id. Ids can occur more than once, although only in keysets that other tools made.
    pub id: u32,
    /// Whether the key is used.
    pub status: KeyStatus,
    /// Whether this is the key that seals.
    pub is_primary: bool,
    /// What the key puts before a ciphertext. `None` if the key is not enabled and its prefix is not one that is known.
    pub prefix: Option<OutputPrefix>,
    /// What kind of key it is, as a short name: `AesGcmKey`.
    pub kind: String,
}

/// Whether a key is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyStatus {
    /// The key opens, and seals if it is the primary.
    Enabled,
    /// The key is kept and not used.
    Disabled,
    /// The key's material is gone; only its id is left.
    Destroyed,
}

/// What a key puts before a ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutputPrefix {
    /// `01` and the key's id.
    Tink,
    /// `00` and the key's id; for encryption the same as [`Crunchy`](Self::Crunchy).
    Legacy,
    /// Nothing: the key is tried on every ciphertext that no other key opens.
    Raw,
    /// `00` and the key's id.
    Crunchy,
}

impl KeysetInfo {
    /// The key `id`; the first one, if there are more.
    #[must_use]
    pub fn key(&self, id: u32) -> Option<&KeyInfo> {
        self.keys.iter().find(|key| key.id == id)
    }

    pub(super) fn of(keyset: &proto::KeysetInfo) -> Self {
        let keys = keyset.key_info.iter().map(|key| {
            let status = KeyStatus::of(key.status).unwrap_or(KeyStatus::Disabled);
            KeyInfo {
                id: key.key_id,
                status,
                is_primary: status == KeyStatus::Enabled && key.key_id == keyset.primary_key_id,
                prefix: OutputPrefix::of(key.output_prefix_type),
                kind: short(&key.type_url).to_owned(),
            }
        });
        Self {
            primary_key_id: keyset.primary_key_id,
            keys: keys.collect(),
        }
    }
}

/// The last part of a type's URL.
pub(super) fn short(type_url: &str) -> &str {
    let name = type_url.rsplit(['/', '.']).next().unwrap_or_default();
    let is_name = name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_name { name } else { "unknown" }
}

impl KeyStatus {
    pub(super) const fn of(number: i32) -> Option<Self> {
        match number {
            proto::ENABLED => Some(Self::Enabled),
            proto::DISABLED => Some(Self::Disabled),
            proto::DESTROYED => Some(Self::Destroyed),
            _ => None,
        }
    }

    /// The name as `cachectl` and logs show it, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Destroyed => "destroyed",
        }
    }
}

impl OutputPrefix {
    pub(super) const fn of(number: i32) -> Option<Self> {
        match number {
            proto::TINK => Some(Self::Tink),
            proto::LEGACY => Some(Self::Legacy),
            proto::RAW => Some(Self::Raw),
            proto::CRUNCHY => Some(Self::Crunchy),
            _ => None,
        }
    }

    /// The bytes before a ciphertext of the key `id`.
    pub(super) const fn bytes(self, id: u32) -> Option<[u8; 5]> {
        let [a, b, c, d] = id.to_be_bytes();
        match self {
            Self::Tink => Some([1, a, b, c, d]),
            Self::Legacy | Self::Crunchy => Some([0, a, b, c, d]),
            Self::Raw => None,
        }
    }

    /// The name as Tink spells it, in upper case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tink => "TINK",
            Self::Legacy => "LEGACY",
            Self::Raw => "RAW",
            Self::Crunchy => "CRUNCHY",
        }
    }
}

impl fmt::Display for KeyStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for OutputPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
