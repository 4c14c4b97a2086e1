//! API keys as the service keeps them: as digests.
//!
//! API keys are long and random, so a plain SHA-256 is enough to look one up by. What people choose
//! themselves (passwords) would need a slow, salted hash instead.

use std::fmt::{self, Write as _};

use sha2::{Digest as _, Sha256};

/// The SHA-256 of an API key, as hex digits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct KeyDigest(String);

impl KeyDigest {
    pub(crate) fn of(api_key: &str) -> Self {
        let mut hex = String::with_capacity(64);
        for byte in Sha256::digest(api_key) {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Self(hex)
    }

    pub(crate) fn as_hex(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyDigest {
    /// Enough to find one in a log, too little to look one up by.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyDigest({}..)", &self.0[..8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_sha_256_of_the_key() {
        // printf abc | sha256sum
        assert_eq!(
            KeyDigest::of("abc").as_hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(format!("{:?}", KeyDigest::of("abc")), "KeyDigest(ba7816bf..)");
    }
}
