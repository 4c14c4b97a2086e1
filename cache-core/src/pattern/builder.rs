//! Builds patterns from escaped literals, so that text from outside cannot widen them.

use super::Pattern;
use crate::CacheError;

/// Builds a [`Pattern`] from literal texts and wildcards; created by [`Pattern::builder`].
///
/// ```
/// use cache_core::Pattern;
///
/// let tenant = "we*rd?";
/// let pattern = Pattern::builder().literal("app:").literal(tenant).literal(":").any().build()?;
/// assert_eq!(pattern.to_string(), r"app:we\*rd\?:*");
/// # Ok::<(), cache_core::CacheError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it is built"]
pub struct PatternBuilder {
    bytes: Vec<u8>,
}

impl PatternBuilder {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds text that matches only itself, whatever it contains.
    pub fn literal(mut self, text: impl AsRef<[u8]>) -> Self {
        for &byte in text.as_ref() {
            if matches!(byte, b'*' | b'?' | b'[' | b'\\') {
                self.bytes.push(b'\\');
            }
            self.bytes.push(byte);
        }
        self
    }

    /// Adds `*`: any bytes, possibly none.
    pub fn any(mut self) -> Self {
        self.bytes.push(b'*');
        self
    }

    /// Adds `?`: one byte.
    pub fn one_byte(mut self) -> Self {
        self.bytes.push(b'?');
        self
    }

    /// Adds `pattern` with its wildcards.
    pub fn pattern(mut self, pattern: &Pattern) -> Self {
        self.bytes.extend_from_slice(pattern.as_bytes());
        self
    }

    /// The pattern.
    ///
    /// # Errors
    ///
    /// As [`Pattern::new`]; the length includes the escapes.
    pub fn build(self) -> Result<Pattern, CacheError> {
        Pattern::new(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wildcards_match_as_named() {
        let pattern = Pattern::builder()
            .literal("a")
            .one_byte()
            .literal("c")
            .any()
            .build()
            .unwrap();
        assert_eq!(pattern.as_bytes(), b"a?c*");
    }

    proptest! {
        #[test]
        fn literal_matches_only_itself(
            text in proptest::collection::vec(prop_oneof![Just(b'*'), Just(b'['), Just(b'\\'), any::<u8>()], 1..12),
            other in proptest::collection::vec(prop_oneof![Just(b'*'), Just(b'['), Just(b'\\'), any::<u8>()], 1..12),
        ) {
            let pattern = Pattern::literal(&text).unwrap();
            prop_assert!(pattern.matches(&text));
            prop_assert_eq!(pattern.matches(&other), text == other);
            prop_assert!(pattern.is_literal());
            prop_assert_eq!(pattern.literal_prefix(), &text[..]);
        }

        #[test]
        fn pattern_within_prefix_matches_the_rest(
            prefix in proptest::collection::vec(prop_oneof![Just(b'*'), Just(b'['), Just(b'\\'), Just(b'a')], 1..4),
            text in "[a*?\\[\\]\\\\]{1,5}",
            key in proptest::collection::vec(prop_oneof![Just(b'*'), Just(b'['), Just(b'\\'), Just(b'a')], 1..5),
        ) {
            let pattern = Pattern::new(text.as_str()).unwrap();
            let within = pattern.within(&prefix).unwrap();
            prop_assert_eq!(within.matches(&[&prefix[..], &key].concat()), pattern.matches(&key));
            prop_assert!(!within.matches(&key) || key.starts_with(&prefix));
        }

        #[test]
        fn prefix_matches_only_keys_that_begin_with_it(
            text in proptest::collection::vec(prop_oneof![Just(b'*'), Just(b'?'), Just(b'a')], 1..4),
            key in proptest::collection::vec(prop_oneof![Just(b'*'), Just(b'?'), Just(b'a')], 1..6),
        ) {
            prop_assert_eq!(Pattern::prefix(&text).unwrap().matches(&key), key.starts_with(&text));
        }
    }
}
