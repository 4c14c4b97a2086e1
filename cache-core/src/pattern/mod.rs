//! Glob patterns over keys, with exactly the server's semantics.
//!
//! Not in here: what happens to matching keys (scanning, purging), and how a service lays out its keys
//! ([`Keyspace`](crate::Keyspace), which makes patterns for its own keys).

mod asked;
mod builder;
mod glob;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

pub use asked::Asked;
pub use builder::PatternBuilder;

use self::glob::Glob;
use crate::CacheError;
use crate::slot::slot_of;

/// A glob pattern, such as `billing:v1:{acme}:*`.
///
/// | element | matches |
/// |---|---|
/// | `*` | any bytes, possibly none |
/// | `?` | one byte |
/// | `[abc]`, `[a-z]`, `[z-a]` | one byte of the class; the ends of a range may be in either order |
/// | `[^abc]` | one byte that is not in the class |
/// | `\` and a byte | that byte itself |
/// | any other byte | itself |
///
/// A pattern works on bytes: `?` is one byte, not one character. Edge cases follow Valkey's own matcher: a
/// class without a closing bracket ends with the pattern, `[]` matches nothing, `[^]` matches anything, a `\`
/// at the end is a backslash, and in `[a-]` the `]` ends the range, not the class. The server compares the
/// ends of a range as C's `char`, whose bytes from 0x80 on are negative on x86-64 and not on AArch64 Linux. A
/// pattern behaves like a server built for this program's own platform.
///
/// Matching takes at most key length times pattern length steps: no pattern takes exponential time.
///
/// Never pass plain text to [`Pattern::new`]: use [`literal`](Pattern::literal), [`prefix`](Pattern::prefix)
/// or [`builder`](Pattern::builder), which escape it.
///
/// ```
/// use cache_core::Pattern;
///
/// let settings = Pattern::new("billing:*:settings:[a-e]?")?;
/// assert!(settings.matches(b"billing:acme:settings:de"));
/// assert!(!settings.matches(b"billing:acme:settings:us"));
///
/// // A tenant called `*` reaches only its own keys.
/// let theirs = Pattern::prefix("billing:*:")?;
/// assert_eq!(theirs.to_string(), r"billing:\*:*");
/// assert!(!theirs.matches(b"billing:acme:settings:de"));
/// # Ok::<(), cache_core::CacheError>(())
/// ```
#[derive(Clone)]
pub struct Pattern {
    bytes: Box<[u8]>,
    glob: Glob,
}

impl Pattern {
    /// The longest pattern, in bytes.
    pub const MAX_LEN: usize = 64 * 1024;

    /// The most elements between two `*`, or after the last `*`: each byte of a key may be compared with all
    /// of them.
    pub const MAX_AFTER_STAR: usize = 1_024;

    /// Parses a pattern. Any text is a pattern unless it is empty, too long or too costly.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for an empty pattern, for one longer than [`MAX_LEN`](Pattern::MAX_LEN), and for one
    /// with more than [`MAX_AFTER_STAR`](Pattern::MAX_AFTER_STAR) elements after a `*`.
    pub fn new(pattern: impl Into<Vec<u8>>) -> Result<Self, CacheError> {
        let bytes = pattern.into();
        if bytes.is_empty() {
            return Err(invalid("empty; the pattern of all keys is *"));
        }
        if bytes.len() > Self::MAX_LEN {
            return Err(CacheError::InvalidInput {
                argument: "pattern",
                reason: format!(
                    "{} bytes long; a pattern has at most {}",
                    bytes.len(),
                    Self::MAX_LEN
                )
                .into(),
            });
        }
        let glob = Glob::compile(&bytes);
        let after_star = glob.longest_after_star();
        if after_star > Self::MAX_AFTER_STAR {
            return Err(CacheError::InvalidInput {
                argument: "pattern",
                reason: format!(
                    "{after_star} elements after a *; at most {} are fine",
                    Self::MAX_AFTER_STAR
                )
                .into(),
            });
        }
        Ok(Self {
            glob,
            bytes: bytes.into(),
        })
    }

    /// The pattern of every key, `*`.
    #[must_use]
    pub fn all() -> Self {
        Self {
            bytes: Box::from(*b"*"),
            glob: Glob::compile(b"*"),
        }
    }

    /// The pattern that matches only `text`.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] if `text` is empty or its escaped form too long.
    pub fn literal(text: impl AsRef<[u8]>) -> Result<Self, CacheError> {
        Self::builder().literal(text).build()
    }

    /// The pattern of the keys that begin with `text`, including `text` itself.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] if `text` is empty (that would match every key; use [`Pattern::all`]) or
    /// its escaped form is too long.
    pub fn prefix(text: impl AsRef<[u8]>) -> Result<Self, CacheError> {
        if text.as_ref().is_empty() {
            return Err(invalid(
                "an empty prefix; the pattern of all keys is Pattern::all()",
            ));
        }
        Self::builder().literal(text).any().build()
    }

    /// Builds a pattern from literal texts and wildcards.
    pub fn builder() -> PatternBuilder {
        PatternBuilder::new()
    }

    /// The pattern of the keys that begin with `prefix` and continue as this pattern says.
    ///
    /// ```
    /// use cache_core::Pattern;
    ///
    /// let theirs = Pattern::new("users:*")?.within("shop*:")?;
    /// assert_eq!(theirs.to_string(), r"shop\*:users:*");
    /// # Ok::<(), cache_core::CacheError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] if the result is too long.
    pub fn within(&self, prefix: impl AsRef<[u8]>) -> Result<Self, CacheError> {
        Self::builder().literal(prefix).pattern(self).build()
    }

    /// Whether the pattern matches the whole of `key`.
    #[must_use]
    pub fn matches(&self, key: &[u8]) -> bool {
        if key.is_empty() {
            // The server never runs its matcher on an empty key; only `*`, which skips the matcher, matches
            // it.
            return *self.bytes == *b"*";
        }
        self.glob.matches(key)
    }

    /// The pattern in the server's syntax.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The unescaped text before the first wildcard, with which every matching key begins.
    #[must_use]
    pub fn literal_prefix(&self) -> &[u8] {
        self.glob.prefix()
    }

    /// Whether there is no wildcard: the pattern matches only one key, its
    /// [`literal_prefix`](Pattern::literal_prefix).
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.glob.is_literal()
    }

    /// The slot of all matching keys, if the pattern selects one. Then only the primary of this slot needs
    /// the query.
    ///
    /// The rules are the server's: a hash tag that is closed before the first `*`, `?`, `[` or `\` selects
    /// its slot, and a pattern with none of these is one key. An escape before the end of the tag gives
    /// `None`, because the server then searches all its slots.
    ///
    /// ```
    /// use cache_core::{Pattern, slot::slot_of};
    ///
    /// assert_eq!(Pattern::new("billing:{acme}:*")?.slot(), Some(slot_of(b"acme")));
    /// assert_eq!(Pattern::new("billing:*:{acme}")?.slot(), None);
    /// # Ok::<(), cache_core::CacheError>(())
    /// ```
    #[must_use]
    pub fn slot(&self) -> Option<u16> {
        let plain = match self
            .bytes
            .iter()
            .position(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
        {
            None => return Some(slot_of(&self.bytes)),
            Some(end) => &self.bytes[..end],
        };
        let open = plain.iter().position(|&byte| byte == b'{')?;
        let tag = plain[open + 1..].iter().position(|&byte| byte == b'}')?;
        // An empty tag is not a tag: the whole key would count, and it is unknown.
        if tag == 0 {
            None
        } else {
            Some(slot_of(&plain[..open + 1 + tag + 1]))
        }
    }

    /// The number of elements that are compared with a key that has the pattern's prefix.
    #[must_use]
    pub fn wildcard_len(&self) -> usize {
        self.glob.wildcard_len()
    }

    /// Whether the pattern may match most keys, so that an operator should confirm it first.
    ///
    /// A pattern without wildcards is never broad. Any other pattern is broad unless literal text narrows it:
    /// a letter, a digit or a non-ASCII byte in its [`literal_prefix`](Pattern::literal_prefix), or three of
    /// these in a row anywhere else. A class is not literal text. So `*`, `**`, `?*`, `*:*`, `[!~]*`, `*a*`
    /// and `[a-z]*` are broad; `billing:*`, `*:settings:*` and `*acme` are not.
    #[must_use]
    pub fn is_broad(&self) -> bool {
        !self.is_literal()
            && !self.literal_prefix().iter().any(|&byte| is_telling(byte))
            && self.glob.longest_run(is_telling) < 3
    }

    /// Compiles a pattern that is known to be neither empty nor too long.
    pub(crate) fn of_checked(bytes: Vec<u8>) -> Self {
        Self {
            glob: Glob::compile(&bytes),
            bytes: bytes.into(),
        }
    }
}

/// Whether a literal byte narrows a pattern; punctuation is in nearly all keys.
fn is_telling(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

fn invalid(reason: &'static str) -> CacheError {
    CacheError::InvalidInput {
        argument: "pattern",
        reason: reason.into(),
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

impl FromStr for Pattern {
    type Err = CacheError;

    fn from_str(text: &str) -> Result<Self, CacheError> {
        Self::new(text)
    }
}

/// The pattern on one line: invalid UTF-8 and control characters as `\xNN`.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.bytes.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() {
                    let mut utf8 = [0; 4];
                    for byte in character.encode_utf8(&mut utf8).bytes() {
                        write!(f, "\\x{byte:02x}")?;
                    }
                } else {
                    write!(f, "{character}")?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap()
    }

    #[test]
    fn empty_and_oversized_patterns_are_refused() {
        assert!(Pattern::new("").is_err());
        assert!(Pattern::new("*".repeat(Pattern::MAX_LEN)).is_ok());
        let error = Pattern::new("*".repeat(Pattern::MAX_LEN + 1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid pattern: 65537 bytes long; a pattern has at most 65536"
        );
        assert!(Pattern::literal("").is_err());
        assert!(Pattern::prefix("").is_err(), "an empty prefix would be every key");
    }

    #[test]
    fn empty_key_matches_only_the_star() {
        assert!(Pattern::all().matches(b""));
        assert!(!pattern("**").matches(b""));
        assert!(!pattern("a").matches(b""));
    }

    /// The answer of `CLUSTER KEYSLOT` for the tag if the server pins the pattern, otherwise nothing.
    #[test]
    fn pattern_pins_a_slot_as_the_server_decides() {
        let acme = Some(slot_of(b"acme"));
        for (text, slot) in [
            ("{acme}*", acme),
            ("app:{acme}:*", acme),
            ("app:{acme}:\\*", acme),
            ("{acme}[", acme),
            ("}{acme}*", acme),
            ("{a{b}*", Some(slot_of(b"a{b"))),
            ("app:acme", Some(slot_of(b"app:acme"))),
            ("a{}b", Some(slot_of(b"a{}b"))),
            ("a{b", Some(slot_of(b"a{b"))),
            ("*", None),
            ("*{acme}", None),
            ("?{acme}", None),
            ("[a]{acme}", None),
            ("\\a{acme}", None),
            ("{ac\\me}*", None),
            ("{ac?e}*", None),
            ("{acme*}", None),
            ("{}{acme}*", None),
            ("{acme*", None),
        ] {
            assert_eq!(pattern(text).slot(), slot, "{text}");
        }
    }

    #[test]
    fn pattern_without_a_literal_anchor_is_broad() {
        for text in [
            "*", "**", "?*", "*?", "*:*", "[!~]*", "[^a]*", "[a-z]*", "*a*", "*ab*c", "???", "::*", r"\**",
            "[abc]*",
        ] {
            assert!(pattern(text).is_broad(), "{text}");
        }
        for text in [
            "a",
            ":",
            "billing:*",
            "b*",
            "*acme",
            "*:settings:*",
            ":1:*",
            "é*",
            "[b]illing*",
            r"*\a\b\c",
        ] {
            assert!(!pattern(text).is_broad(), "{text}");
        }
    }

    #[test]
    fn literal_prefix_ends_at_wildcard_without_escapes() {
        for (text, prefix) in [
            ("app:*", &b"app:"[..]),
            (r"a\*b?c", b"a*b"),
            ("[a]b", b""),
            ("whole", b"whole"),
            ("end\\", b"end\\"),
        ] {
            assert_eq!(pattern(text).literal_prefix(), prefix, "{text}");
        }
        assert!(pattern(r"a\*b").is_literal());
        assert!(!pattern("a*b").is_literal());
    }

    #[test]
    fn pattern_is_shown_on_one_line() {
        assert_eq!(
            Pattern::new(&b"a\xffb\n\xc3\xa9*"[..]).unwrap().to_string(),
            "a\\xffb\\x0aé*"
        );
        assert_eq!(format!("{:?}", pattern("a*")), "Pattern(a*)");
    }
}
