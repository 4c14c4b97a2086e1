//! The digest of the configuration that produced a value.

use std::fmt;

use sha2::{Digest, Sha256};

use super::escape::push_hex;
use crate::CacheError;

/// SHA-256 of the configuration that produces the values of a keyspace.
///
/// With the digest in the keys, a value of another configuration is a miss, not a wrong answer. It shows that
/// two configurations differ; it does not hide what was hashed.
///
/// ```
/// use cache_core::ConfigDigest;
///
/// let digest = ConfigDigest::of(["model-7", "temperature=0.2"])?;
/// assert_ne!(digest, ConfigDigest::of(["model-7temperature=0.2"])?);
/// # Ok::<(), cache_core::CacheError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConfigDigest([u8; 32]);

impl ConfigDigest {
    /// The digest of a list of settings. Different lists have different digests; the order counts.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] if there is nothing to hash: no setting, or only empty ones. Such a
    /// configuration was not loaded, and it must fail here instead of sharing keys.
    pub fn of<P: AsRef<[u8]>>(settings: impl IntoIterator<Item = P>) -> Result<Self, CacheError> {
        let mut hash = Sha256::new();
        let mut anything = false;
        for setting in settings {
            let setting = setting.as_ref();
            anything |= !setting.is_empty();
            // The length before each setting keeps ["ab"] and ["a", "b"] apart.
            hash.update(u64::try_from(setting.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(setting);
        }
        if !anything {
            return Err(invalid(
                "nothing to hash; name the settings that produce the value",
            ));
        }
        Ok(Self(hash.finalize().into()))
    }

    /// Parses a digest that was computed elsewhere.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for anything but 64 hex digits.
    pub fn from_hex(text: &str) -> Result<Self, CacheError> {
        const EXPECTED: &str = "not a SHA-256; expected 64 hex digits";
        let digits: Vec<u8> = text
            .chars()
            .filter_map(|digit| digit.to_digit(16)?.try_into().ok())
            .collect();
        if digits.len() != 64 || text.chars().count() != 64 {
            return Err(invalid(EXPECTED));
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        Ok(Self(bytes))
    }

    /// Adds the digest's form in a key: its first 128 bits.
    pub(super) fn push_to(&self, key: &mut String) {
        push_hex(key, &self.0[..16]);
    }
}

fn invalid(reason: &'static str) -> CacheError {
    CacheError::InvalidInput {
        argument: "digest",
        reason: reason.into(),
    }
}

/// All 64 hex digits.
impl fmt::Display for ConfigDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(64);
        push_hex(&mut text, &self.0);
        f.write_str(&text)
    }
}

impl fmt::Debug for ConfigDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfigDigest({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_the_sha256_of_length_and_setting() {
        // printf '\0\0\0\0\0\0\0\003abc' | sha256sum
        let digest = ConfigDigest::of(["abc"]).unwrap();
        assert_eq!(
            digest.to_string(),
            "c3494ca1a2cf8eeb8a11ded316fb55b83c3bbbedb6313cd50415251e5d09e12f"
        );
        assert_eq!(
            ConfigDigest::from_hex(&digest.to_string().to_uppercase()).unwrap(),
            digest
        );
    }

    #[test]
    fn digest_depends_on_boundaries_and_order() {
        let of = |settings: &[&str]| ConfigDigest::of(settings).unwrap();
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a", "b"]), of(&["b", "a"]));
        assert_ne!(of(&["a", ""]), of(&["a"]));
    }

    #[test]
    fn missing_digest_is_an_error() {
        assert!(ConfigDigest::of([] as [&str; 0]).is_err());
        assert!(ConfigDigest::of(["", ""]).is_err());
        for text in [
            "",
            "abc",
            &"g".repeat(64),
            &"a".repeat(63),
            &format!("{} ", "a".repeat(64)),
        ] {
            assert!(ConfigDigest::from_hex(text).is_err(), "{text}");
        }
    }
}
