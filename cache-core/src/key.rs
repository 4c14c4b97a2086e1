//! What a legal key is. Not in here: how to build keys ([`Keyspace`](crate::Keyspace)).

use crate::CacheError;

/// The longest key, in bytes of UTF-8.
pub const MAX_KEY_LEN: usize = 64 * 1024;

/// Checks that every backend accepts `key`: not empty, at most [`MAX_KEY_LEN`] bytes.
///
/// # Errors
///
/// [`CacheError::InvalidInput`], which never shows the key.
#[inline]
pub fn check_key(key: &str) -> Result<(), CacheError> {
    if key.is_empty() {
        return Err(CacheError::InvalidInput {
            argument: "key",
            reason: "empty; a key has at least one byte".into(),
        });
    }
    if key.len() > MAX_KEY_LEN {
        return Err(CacheError::InvalidInput {
            argument: "key",
            reason: format!("{} bytes long; a key has at most {MAX_KEY_LEN}", key.len()).into(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_limits_are_exact() {
        assert!(check_key("k").is_ok());
        assert!(check_key(&"k".repeat(MAX_KEY_LEN)).is_ok());
        assert!(check_key("").is_err());
        let error = check_key(&"k".repeat(MAX_KEY_LEN + 1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid key: 65537 bytes long; a key has at most 65536"
        );
    }
}
