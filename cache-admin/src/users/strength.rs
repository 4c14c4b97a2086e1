//! Passwords that are too weak to be taken.

use cache_core::Secret;
use cache_valkey::admin::PasswordHash;

/// The fewest and the most characters; ElastiCache takes no others.
const LENGTH: (usize, usize) = (16, 128);
/// The fewest different characters.
const DIFFERENT: usize = 6;

/// What people take for a password when they mean to choose one later.
const COMMON: &[&str] = &[
    "password",
    "Password",
    "passw0rd",
    "password1",
    "password123",
    "password123456789",
    "changeme",
    "changeit",
    "change-me",
    "secret",
    "admin",
    "administrator",
    "redis",
    "valkey",
    "elasticache",
    "foobared",
    "default",
    "letmein",
    "qwerty",
    "qwertyuiop",
    "qwertyuiop123456",
    "123456",
    "12345678",
    "123456789",
    "1234567890",
    "1234567890123456",
    "0123456789abcdef",
    "test",
    "cache",
    "",
];

/// Why `password` is not taken for the user `name`.
pub(super) fn weakness(password: &Secret, name: &str) -> Option<&'static str> {
    let text = password.expose().as_str();
    if !(LENGTH.0..=LENGTH.1).contains(&text.len()) {
        return Some("must have 16 to 128 characters");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some("must have letters, digits and signs of ASCII only, and no spaces");
    }
    let mut seen: Vec<u8> = text.bytes().collect();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() < DIFFERENT {
        return Some("must have at least 6 different characters");
    }
    let lower = text.to_ascii_lowercase();
    if lower.contains(name) || COMMON.contains(&text) {
        return Some("must neither be one of the usual ones nor contain the user's name");
    }
    None
}

/// Why a password of which only `hash` is known is not taken for the user `name`.
pub(super) fn weakness_of_hash(hash: &PasswordHash, name: &str) -> Option<&'static str> {
    let usual = COMMON.iter().copied().chain([name]);
    let mut usual = usual.map(|password| PasswordHash::of(&password.into()));
    usual
        .any(|weak| weak == *hash)
        .then_some("must not be the hash of one of the usual passwords or of the user's name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_dull_and_usual_passwords_are_not_taken() {
        for weak in [
            "",
            "hunter2",
            "aaaaaaaaaaaaaaaaaaaaaaaa",
            "password123456789",
            "app-billing-2026-secret",
            "has a space in it, which",
            "ends with a line\u{a}......",
            &"x1y2z3".repeat(30),
        ] {
            assert!(weakness(&weak.into(), "app-billing").is_some(), "{weak}");
        }
        assert_eq!(weakness(&"Zk3-vv91!qLm0-xyW".into(), "app-billing"), None);
    }

    #[test]
    fn a_usual_password_is_known_by_its_hash() {
        let hash = |text: &str| PasswordHash::of(&text.into());
        assert!(weakness_of_hash(&hash("changeme"), "app-a").is_some());
        assert!(weakness_of_hash(&hash("app-a"), "app-a").is_some());
        assert!(weakness_of_hash(&hash("Zk3-vv91!qLm0-xyW"), "app-a").is_none());
    }
}
