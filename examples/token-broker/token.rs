//! Access tokens: what is shown of them (nothing), and how one is stored in the cache.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// An upstream token. `Debug` and every log show its fingerprint alone; it is written out in exactly two places: the
/// value that the cache stores, which `CACHE_ENCRYPTION_ENABLED` encrypts, and the answer to a caller.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct AccessToken(String);

impl AccessToken {
    pub(crate) const fn new(token: String) -> Self {
        Self(token)
    }

    /// The first 32 bits of its SHA-256: enough to tell tokens apart in a report, too little to guess one by.
    pub(crate) fn fingerprint(&self) -> String {
        let digest = Sha256::digest(&self.0);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        hex(&digest[..4])
    }

    /// The token itself, to be checked or sent, never logged.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessToken({}..)", self.fingerprint())
    }
}

/// A token with its expiry: what the upstream mints, and what the cache stores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Minted {
    pub(crate) token: AccessToken,
    /// Milliseconds since 1970.
    pub(crate) expires_ms: u64,
}

impl Minted {
    /// How long it is valid at `now`, which counts from 1970; zero once it has expired.
    pub(crate) fn valid_for(&self, now: Duration) -> Duration {
        Duration::from_millis(self.expires_ms).saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_shown_by_its_fingerprint_alone() {
        let minted = Minted {
            token: AccessToken::new("ghs_secret".into()),
            expires_ms: 1,
        };
        let shown = format!("{minted:?}");
        assert!(!shown.contains("ghs_secret"), "{shown}");
        // printf ghs_secret | sha256sum
        assert!(shown.contains("AccessToken(37546f86..)"), "{shown}");
    }

    #[test]
    fn validity_is_never_negative() {
        let minted = Minted {
            token: AccessToken::new(String::new()),
            expires_ms: 1_500,
        };
        assert_eq!(
            minted.valid_for(Duration::from_millis(500)),
            Duration::from_secs(1)
        );
        assert_eq!(minted.valid_for(Duration::from_secs(2)), Duration::ZERO);
    }
}
