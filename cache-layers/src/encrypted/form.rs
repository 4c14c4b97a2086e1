//! How a sealed value is stored: under which key, and in which bytes.
//!
//! Not in here: sealing and opening (the keyset does that), and the handling of a value that does not open
//! (`read.rs`).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cache_core::MAX_KEY_LEN;

/// How a sealed value is stored.
///
/// In both forms the associated data is the key as this layer sees it. So an entry that is copied to another key
/// does not open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoredForm {
    /// The ciphertext of Tink unchanged, under the unchanged key: 33 bytes more than the value.
    #[default]
    Tink,
    /// The form of chinmina-bridge, to share entries with it: under `enc:` and the key, `cb-enc:` and the ciphertext
    /// in standard base64. The associated data is the key without `enc:`.
    ChinminaBridge,
}

const KEY_PREFIX: &str = "enc:";
const MARKER: &[u8] = b"cb-enc:";
/// What Tink adds to a value: a prefix of 5 bytes, a nonce of 12, a tag of 16.
const OVERHEAD: usize = 5 + 12 + 16;
/// The first byte of a ciphertext with the prefix of Tink.
const TINK_START: u8 = 1;
/// The shortest ciphertext of a key without a prefix.
pub(super) const SHORTEST: usize = 12 + 16;

/// The kind of stored bytes.
#[derive(Debug)]
pub(super) enum Shape<'s> {
    /// They may be this ciphertext, or are marked as it.
    Ciphertext(Cow<'s, [u8]>),
    /// They are no ciphertext of this form.
    Other,
    /// They have the mark of this form, but no ciphertext after it.
    Malformed,
}

impl StoredForm {
    /// The stored length of a value of `len` bytes.
    #[must_use]
    pub const fn sealed_len(self, len: usize) -> usize {
        let sealed = len + OVERHEAD;
        match self {
            Self::Tink => sealed,
            Self::ChinminaBridge => MARKER.len() + sealed.div_ceil(3) * 4,
        }
    }

    /// The length of the longest value whose stored form has at most `stored` bytes.
    #[must_use]
    pub const fn plaintext_len(self, stored: usize) -> usize {
        match self {
            Self::Tink => stored.saturating_sub(OVERHEAD),
            Self::ChinminaBridge => (stored.saturating_sub(MARKER.len()) / 4 * 3).saturating_sub(OVERHEAD),
        }
    }

    /// The length of the longest key that this form accepts, in bytes.
    #[must_use]
    pub const fn longest_key(self) -> usize {
        MAX_KEY_LEN - self.key_prefix().len()
    }

    /// The prefix of every stored key. Empty if keys are stored unchanged.
    #[must_use]
    pub const fn key_prefix(self) -> &'static str {
        match self {
            Self::Tink => "",
            Self::ChinminaBridge => KEY_PREFIX,
        }
    }

    /// The name under which a value of `key` is stored.
    pub(super) fn stored_key(self, key: &str) -> Cow<'_, str> {
        match self.key_prefix() {
            "" => Cow::Borrowed(key),
            prefix => Cow::Owned([prefix, key].concat()),
        }
    }

    /// The key whose values are stored under that name, or `None` if it is no name of this form.
    pub(super) fn key_of(self, stored_key: &str) -> Option<&str> {
        match self {
            Self::Tink => Some(stored_key),
            Self::ChinminaBridge => stored_key.strip_prefix(KEY_PREFIX).filter(|key| !key.is_empty()),
        }
    }

    /// Another name under which `key` was stored before values were encrypted.
    pub(super) fn plain_key(self, key: &str) -> Option<&str> {
        match self {
            Self::Tink => None,
            // The sealed value of another key has that name.
            Self::ChinminaBridge if key.starts_with(KEY_PREFIX) => None,
            Self::ChinminaBridge => Some(key),
        }
    }

    /// A ciphertext in its stored form.
    pub(super) fn wrap(self, ciphertext: Vec<u8>) -> Bytes {
        match self {
            Self::Tink => ciphertext.into(),
            Self::ChinminaBridge => {
                let mut stored = vec![0; MARKER.len() + ciphertext.len().div_ceil(3) * 4];
                let (marker, text) = stored.split_at_mut(MARKER.len());
                marker.copy_from_slice(MARKER);
                let written = STANDARD.encode_slice(&ciphertext, text);
                // The buffer has exactly the size of the base64 text.
                debug_assert_eq!(written.ok(), Some(text.len()));
                stored.into()
            }
        }
    }

    /// Guesses the form of an entry of `length` bytes from its key and its first bytes. For tools: nothing is
    /// decrypted, so other bytes may look the same.
    ///
    /// The form of Tink has no mark except a 1 before the number of its key. So at least the first 33 bytes are
    /// needed, and text is never taken for it.
    #[must_use]
    pub fn guess(stored_key: &[u8], start: &[u8], length: u64) -> Option<Self> {
        let is_long = u64::try_from(OVERHEAD).is_ok_and(|overhead| length >= overhead);
        if stored_key.starts_with(KEY_PREFIX.as_bytes()) && start.starts_with(MARKER) {
            return Some(Self::ChinminaBridge);
        }
        let is_text = !std::str::from_utf8(start).is_err_and(|error| error.error_len().is_some());
        (is_long && start.len() >= OVERHEAD && start[0] == TINK_START && !is_text).then_some(Self::Tink)
    }

    /// Classifies stored bytes.
    pub(super) fn unwrap(self, stored: &[u8]) -> Shape<'_> {
        match self {
            Self::Tink => Shape::Ciphertext(Cow::Borrowed(stored)),
            Self::ChinminaBridge => match stored.strip_prefix(MARKER) {
                None => Shape::Other,
                Some(text) => match STANDARD.decode(text) {
                    Ok(ciphertext) if ciphertext.len() >= SHORTEST => {
                        Shape::Ciphertext(Cow::Owned(ciphertext))
                    }
                    _ => Shape::Malformed,
                },
            },
        }
    }

    /// Whether a mark of the form identifies a ciphertext, not only the ciphertext's own prefix.
    pub(super) const fn is_marked(self) -> bool {
        matches!(self, Self::ChinminaBridge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMS: [StoredForm; 2] = [StoredForm::Tink, StoredForm::ChinminaBridge];

    #[test]
    fn lengths_agree_with_what_is_stored() {
        for form in FORMS {
            for len in 0..200 {
                let stored = form.wrap(vec![7; len + OVERHEAD]);
                assert_eq!(stored.len(), form.sealed_len(len), "{form:?} {len}");
                assert!(form.plaintext_len(stored.len()) >= len);
                let fits = form.plaintext_len(len);
                assert!(fits == 0 || form.sealed_len(fits) <= len);
                assert!(form.sealed_len(fits + 1) > len);
            }
        }
    }

    #[test]
    fn what_is_wrapped_is_unwrapped() {
        for form in FORMS {
            let stored = form.wrap((0..=255).collect());
            let Shape::Ciphertext(ciphertext) = form.unwrap(&stored) else {
                panic!("{form:?}");
            };
            assert!(ciphertext.iter().copied().eq(0..=255));
        }
        let bridge = StoredForm::ChinminaBridge;
        assert!(matches!(bridge.unwrap(b"cb-enc"), Shape::Other));
        assert!(matches!(bridge.unwrap(b""), Shape::Other));
        for text in ["cb-enc:", "cb-enc:AAAA", "cb-enc:****", "cb-enc:AQ"] {
            assert!(
                matches!(bridge.unwrap(text.as_bytes()), Shape::Malformed),
                "{text}"
            );
        }
    }

    #[test]
    fn stored_key_leads_back_to_its_key() {
        for form in FORMS {
            for key in ["k", "enc:k", "{a}:b", "é"] {
                assert_eq!(form.key_of(&form.stored_key(key)), Some(key));
            }
        }
        let bridge = StoredForm::ChinminaBridge;
        assert_eq!(bridge.stored_key("k"), "enc:k");
        assert_eq!(bridge.key_of("k"), None);
        assert_eq!(bridge.key_of("enc:"), None);
        assert_eq!(bridge.plain_key("k"), Some("k"));
        assert_eq!(bridge.plain_key("enc:k"), None, "the name of the sealed k");
    }
}
