//! Fingerprints: they tell different requests under the same key apart.

use std::fmt;

use sha2::{Digest, Sha256};

/// The SHA-256 of what identifies a request: its method, its target, its body.
///
/// It is stored in place of the request, and compared to the fingerprint of a retry.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Makes the fingerprint of these parts, in this order: SHA-256 over each part's length (8 bytes, big-endian) and
    /// the part. So it matters where one part ends and the next begins.
    /// ```
    /// use cache_layers::idempotency::Fingerprint;
    ///
    /// let first = Fingerprint::of(["POST", "/orders", r#"{"item":7}"#]);
    /// assert_eq!(first, Fingerprint::of(["POST", "/orders", r#"{"item":7}"#]));
    /// assert_ne!(first, Fingerprint::of(["POST", "/orders", r#"{"item":8}"#]));
    /// ```
    #[must_use]
    pub fn of<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            let part = part.as_ref();
            // The length of a slice in memory fits into 64 bits.
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// Returns its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A fingerprint that was computed elsewhere.
impl From<[u8; 32]> for Fingerprint {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// Shows the first 32 bits in hex: enough to tell two apart in a log.
impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "Fingerprint({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_the_sha256_of_length_and_part() {
        // printf '\0\0\0\0\0\0\0\003abc' | sha256sum
        assert_eq!(
            format!("{:?}", Fingerprint::of(["abc"])),
            "Fingerprint(c3494ca1..)"
        );
    }

    #[test]
    fn the_cut_between_parts_and_their_order_count() {
        let of = |parts: &[&str]| Fingerprint::of(parts);
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a", "b"]), of(&["b", "a"]));
        assert_ne!(of(&["a", ""]), of(&["a"]));
    }
}
