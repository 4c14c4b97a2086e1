//! Sealing and opening with a keyset.
//!
//! A ciphertext is the key's prefix (5 bytes, none for RAW keys), the nonce (12 bytes), the encrypted text and the
//! tag (16 bytes). Not in here: reading and checking keysets.

use std::fmt;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use cache_core::{CacheError, Outcome, Unavailability};
use zeroize::Zeroize as _;

use super::info::{KeysetInfo, OutputPrefix};

const TAG_LEN: usize = 16;
const PREFIX_LEN: usize = 5;

/// A keyset that seals with its primary key and opens with all its enabled keys.
///
/// It does not change; share it by [`Arc`](std::sync::Arc). Key material is wiped on drop and never shown.
pub struct Keyset {
    info: KeysetInfo,
    primary: Key,
    /// The other enabled keys, in their order.
    others: Vec<Key>,
}

/// An enabled key.
struct Key {
    id: u32,
    /// `None` for RAW keys.
    prefix: Option<[u8; PREFIX_LEN]>,
    aead: LessSafeKey,
}

/// Why a ciphertext was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is shorter than any ciphertext of this keyset.
    #[error("the ciphertext is too short")]
    TooShort,
    /// It names a key that is not among the keyset's enabled keys.
    #[error("the keyset has no enabled key {key_id}")]
    UnknownKey {
        /// The key's id, as the ciphertext gives it. Nothing proves that it is right.
        key_id: u32,
    },
    /// A key was tried and did not open it: the ciphertext was changed, or it was sealed with other associated data
    /// or with another key.
    #[error("the ciphertext does not fit the key and the associated data")]
    Refused,
}

impl Keyset {
    /// Encrypts `plaintext` with the primary key under a random nonce, and binds `associated_data` to it.
    ///
    /// # Errors
    ///
    /// [`CacheError::Unavailable`] if the system has no random numbers, [`CacheError::InvalidInput`] if the text is
    /// longer than AES-GCM allows (64 GiB).
    pub fn seal(&self, plaintext: &[u8], associated_data: &[u8]) -> Result<Vec<u8>, CacheError> {
        self.primary.seal(plaintext, associated_data)
    }

    /// Decrypts what [`seal`](Self::seal) made, here or in any Tink, with the same `associated_data`.
    ///
    /// Tries the enabled keys that the ciphertext's prefix names, then the enabled RAW keys.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(&self, ciphertext: &[u8], associated_data: &[u8]) -> Result<Vec<u8>, OpenError> {
        let named = ciphertext.split_first_chunk::<PREFIX_LEN>();
        let mut was_tried = false;
        if let Some((prefix, rest)) = named {
            for key in self.enabled().filter(|key| key.prefix.as_ref() == Some(prefix)) {
                was_tried = true;
                if let Some(plaintext) = key.open(rest, associated_data) {
                    return Ok(plaintext);
                }
            }
        }
        let mut shortest = PREFIX_LEN + NONCE_LEN + TAG_LEN;
        for key in self.enabled().filter(|key| key.prefix.is_none()) {
            shortest = NONCE_LEN + TAG_LEN;
            if let Some(plaintext) = key.open(ciphertext, associated_data) {
                return Ok(plaintext);
            }
        }
        if ciphertext.len() < shortest {
            return Err(OpenError::TooShort);
        }
        match named {
            Some(([0 | 1, id @ ..], _)) if !was_tried => Err(OpenError::UnknownKey {
                key_id: u32::from_be_bytes(*id),
            }),
            _ => Err(OpenError::Refused),
        }
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn primary_key_id(&self) -> u32 {
        self.primary.id
    }

    /// The ids of the enabled keys, the primary's first.
    pub fn key_ids(&self) -> impl Iterator<Item = u32> {
        self.enabled().map(|key| key.id)
    }

    /// Returns what may be shown of the keyset, including keys that are not enabled.
    #[must_use]
    pub const fn info(&self) -> &KeysetInfo {
        &self.info
    }

    /// Creates a keyset of checked keys. `enabled` holds the id, the prefix and the material of each enabled key.
    /// Returns `None` if the primary is not among them, or a key has a length that AES-GCM does not accept.
    pub(super) fn new<'a>(
        info: KeysetInfo,
        enabled: impl IntoIterator<Item = (u32, OutputPrefix, &'a [u8])>,
    ) -> Option<Self> {
        let mut primary = None;
        let mut others = Vec::new();
        for (id, prefix, material) in enabled {
            let key = Key::new(id, prefix, material)?;
            if id == info.primary_key_id && primary.is_none() {
                primary = Some(key);
            } else {
                others.push(key);
            }
        }
        Some(Self {
            info,
            primary: primary?,
            others,
        })
    }

    fn enabled(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.primary).chain(&self.others)
    }
}

impl Key {
    fn new(id: u32, prefix: OutputPrefix, material: &[u8]) -> Option<Self> {
        let algorithm = match material.len() {
            16 => &AES_128_GCM,
            32 => &AES_256_GCM,
            _ => return None,
        };
        let key = UnboundKey::new(algorithm, material).ok()?;
        Some(Self {
            id,
            prefix: prefix.bytes(id),
            aead: LessSafeKey::new(key),
        })
    }

    fn seal(&self, plaintext: &[u8], associated_data: &[u8]) -> Result<Vec<u8>, CacheError> {
        let prefix = self.prefix.as_ref().map_or(&[][..], |prefix| prefix);
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| no_randomness())?;

        let start = prefix.len() + NONCE_LEN;
        let mut sealed = Vec::with_capacity(start + plaintext.len() + TAG_LEN);
        sealed.extend_from_slice(prefix);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plaintext);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag =
            self.aead
                .seal_in_place_separate_tag(nonce, Aad::from(associated_data), &mut sealed[start..]);
        match tag {
            Ok(tag) => sealed.extend_from_slice(tag.as_ref()),
            Err(_) => {
                sealed.zeroize();
                return Err(CacheError::InvalidInput {
                    argument: "plaintext",
                    reason: "AES-GCM encrypts at most 64 GiB at once".into(),
                });
            }
        }
        Ok(sealed)
    }

    fn open(&self, sealed: &[u8], associated_data: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let (text, tag) = rest.split_last_chunk::<TAG_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut plaintext = vec![0; text.len()];
        let opened =
            self.aead
                .open_separate_gather(nonce, Aad::from(associated_data), text, tag, &mut plaintext);
        if opened.is_err() {
            // It may hold unauthenticated text.
            plaintext.zeroize();
            return None;
        }
        Some(plaintext)
    }
}

pub(super) fn no_randomness() -> CacheError {
    CacheError::Unavailable {
        reason: Unavailability::NotReady,
        detail: "the operating system gives no random numbers, which encryption needs".into(),
        outcome: Outcome::NotApplied,
        source: None,
    }
}

impl fmt::Debug for Keyset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.info, f)
    }
}
