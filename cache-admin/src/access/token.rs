//! Bearer tokens: making one, and what is kept of it.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_core::{CacheError, Secret};

use super::Refused;

/// What every token that is made here begins with, so that scanners for leaked secrets know one.
const PREFIX: &str = "cca_";

/// The bytes of chance in a token.
const BYTES: usize = 32;

/// What the hash of a token begins with in the file.
pub(super) const HASH_PREFIX: &str = "sha256:";

/// The SHA-256 of a token. Tokens hold 256 bits of chance, so that nothing slower is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct TokenHash(pub(super) [u8; 32]);

impl TokenHash {
    pub(super) fn of(token: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(hash)
    }

    /// Reads `sha256:` and 64 hexadecimal digits.
    pub(super) fn read(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(HASH_PREFIX)?.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |digit: u8| {
                char::from(digit)
                    .to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok())
            };
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(hash))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A new bearer token: 256 bits of chance. What is stored of it is its [`hash`](Token::hash).
#[derive(Clone, Debug)]
pub struct Token(Secret);

impl Token {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// [`CacheError::Unavailable`] where the machine has no randomness to give.
    pub fn generate() -> Result<Self, CacheError> {
        let bytes = crate::seal::random::<BYTES>()?;
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes.expose()));
        Ok(Self(Secret::new(text)))
    }

    /// The token itself, to be shown once.
    #[must_use]
    pub const fn expose(&self) -> &String {
        self.0.expose()
    }

    /// What goes into the file: `sha256:` and 64 hexadecimal digits.
    #[must_use]
    pub fn hash(&self) -> String {
        use fmt::Write as _;

        let mut text = HASH_PREFIX.to_owned();
        for byte in TokenHash::of(self.expose()).0 {
            // Writing to a text does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

/// The token in the value of an `Authorization` header.
///
/// # Errors
///
/// [`Refused::Malformed`] where it is not `Bearer` and one token.
pub fn bearer(header: &[u8]) -> Result<&str, Refused> {
    let header = std::str::from_utf8(header).map_err(|_| Refused::Malformed)?;
    let (scheme, token) = header.trim().split_once(' ').ok_or(Refused::Malformed)?;
    let token = token.trim_start();
    let plain = |byte: u8| byte.is_ascii_graphic();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || !token.bytes().all(plain) {
        return Err(Refused::Malformed);
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_new_each_time_and_its_hash_is_what_the_file_takes() {
        let (one, two) = (Token::generate().unwrap(), Token::generate().unwrap());
        assert_ne!(one.expose(), two.expose());
        assert!(one.expose().starts_with(PREFIX) && one.expose().len() == PREFIX.len() + 43);
        assert_eq!(TokenHash::read(&one.hash()), Some(TokenHash::of(one.expose())));
        assert_eq!(format!("{one:?}"), "Token(***)");
        assert_eq!(format!("{:?}", TokenHash::of("x")), "***");
    }

    #[test]
    fn a_hash_has_one_form() {
        let hash = TokenHash::of("test");
        let text = "sha256:9F86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        assert_eq!(TokenHash::read(text), Some(hash));
        for wrong in [&text[7..], &text[..70], "", "sha256:", "cca_1234"] {
            assert_eq!(TokenHash::read(wrong), None, "{wrong}");
        }
        assert_eq!(TokenHash::read(&text.replace('9', "g")), None);
        assert_eq!(TokenHash::read(&text.replace("9F", "é")), None);
    }

    #[test]
    fn a_bearer_header_has_one_form() {
        assert_eq!(bearer(b"Bearer abc"), Ok("abc"));
        assert_eq!(bearer(b"bearer  a.b-c_d="), Ok("a.b-c_d="));
        for wrong in [
            &b""[..],
            b"Bearer",
            b"Bearer ",
            b"Basic abc",
            b"abc",
            b"Bearer a b",
            b"Bearer \xff",
        ] {
            assert_eq!(bearer(wrong), Err(Refused::Malformed));
        }
    }
}
