//! A password as servers store it: its SHA-256. The passwords themselves never reach this module.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use cache_core::Secret;

/// The SHA-256 of a password, the form that servers compare.
///
/// Never shown, because a weak password can be guessed from it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// The hash of `password`.
    #[must_use]
    pub fn of(password: &Secret) -> Self {
        let hash = digest(&SHA256, password.expose().as_bytes());
        Self(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Parses a hash of 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| Self(text.to_ascii_lowercase()))
    }

    /// The 64 hexadecimal digits, for a file that servers read. Never pass them to anything that logs.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_equals_the_servers_and_is_not_shown() {
        let hash = PasswordHash::of(&"password".into());
        let hex = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";
        assert_eq!(hash.expose(), hex);
        assert_eq!(PasswordHash::from_hex(&hex.to_uppercase()), Some(hash.clone()));
        assert_eq!(format!("{hash:?}"), "***");
        assert_eq!(PasswordHash::from_hex(&hex[1..]), None);
        assert_eq!(PasswordHash::from_hex(&hex.replace('5', "g")), None);
    }
}
