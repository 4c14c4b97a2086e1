//! The form in which our layers store a value: the envelope of a read-through, or a ciphertext.

use bytes::Bytes;
use cache_layers::encrypted::StoredForm;
use cache_layers::read_through::{EnvelopeHead, EnvelopeKind, SystemClock, WallClock as _};
use serde::{Deserialize, Serialize};

/// The form in which one of our layers has stored a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Form {
    /// The envelope of a read-through. The bytes that are shown are those of its payload.
    Envelope(Envelope),
    /// It looks like a value that was encrypted. It is not decrypted.
    Encrypted {
        /// The form of the ciphertext.
        cipher: Cipher,
    },
}

/// What the envelope of a read-through says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Envelope {
    /// What it holds.
    pub holds: Holds,
    /// When the load or the put began, in milliseconds since 1970-01-01 UTC.
    pub created_ms: u64,
    /// When the value expires, in milliseconds since 1970-01-01 UTC. The entry may stay longer, for readers that accept
    /// a stale value.
    pub expires_ms: u64,
    /// How old it is, in milliseconds by the clock of the machine that looks.
    pub age_ms: u64,
    /// For how many milliseconds it is fresh; missing if it has expired.
    pub fresh_for_ms: Option<u64>,
}

/// What an envelope holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Holds {
    /// A value.
    Value,
    /// The answer that there is no value.
    Absent,
    /// The sign that a load is under way.
    Loading,
}

/// The form of a ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cipher {
    /// That of Tink.
    Tink,
    /// That of chinmina-bridge.
    ChinminaBridge,
}

/// How many bytes to read for `most` bytes of a value of `key`, be it in an envelope or not.
pub(super) fn reach(key: &[u8], most: u32) -> u32 {
    let head = u32::try_from(EnvelopeHead::LEN + key.len()).unwrap_or(u32::MAX);
    most.saturating_add(head)
}

/// The form of an entry of `length` bytes under `key` that begins with `start`, the start of what it holds, and the
/// length of that.
pub(super) fn opened(key: &[u8], start: &Bytes, length: u64) -> (Option<Form>, Bytes, u64) {
    if let Some((envelope, at)) = envelope(key, start, length) {
        let payload = start.slice(at.min(start.len())..);
        let rest = length.saturating_sub(u64::try_from(at).unwrap_or(u64::MAX));
        return (Some(Form::Envelope(envelope)), payload, rest);
    }
    let cipher = match StoredForm::guess(key, start, length) {
        Some(StoredForm::Tink) => Some(Cipher::Tink),
        Some(StoredForm::ChinminaBridge) => Some(Cipher::ChinminaBridge),
        _ => None,
    };
    let form = cipher.map(|cipher| Form::Encrypted { cipher });
    (form, start.clone(), length)
}

/// The envelope, and where its payload begins. Its key is that of the entry, without the prefixes of other layers.
fn envelope(key: &[u8], start: &Bytes, length: u64) -> Option<(Envelope, usize)> {
    let head = EnvelopeHead::read(start)?;
    let payload_at = EnvelopeHead::LEN.checked_add(head.key_len)?;
    let whole = payload_at.checked_add(head.payload_len)?;
    let named = start.get(EnvelopeHead::LEN..payload_at)?;
    if u64::try_from(whole).ok()? != length || !key.ends_with(named) {
        return None;
    }
    let now = u64::try_from(SystemClock.since_epoch().as_millis()).unwrap_or(u64::MAX);
    let envelope = Envelope {
        holds: match head.holds {
            EnvelopeKind::Value => Holds::Value,
            EnvelopeKind::Absent => Holds::Absent,
            EnvelopeKind::UnderWay => Holds::Loading,
            _ => return None,
        },
        created_ms: head.created_ms,
        expires_ms: head.expires_ms,
        age_ms: now.saturating_sub(head.created_ms),
        fresh_for_ms: head.expires_ms.checked_sub(now).filter(|left| *left > 0),
    };
    Some((envelope, payload_at))
}
