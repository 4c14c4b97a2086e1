//! Patterns from escaped literals: text that comes from outside cannot widen them.

use super::Pattern;
use crate::CacheError;

/// Puts a [`Pattern`] together from literal texts and wildcards; made by [`Pattern::builder`].
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

    /// Adds text that stands for itself, whatever it holds.
    pub fn literal(mut self, text: impl AsRef<[u8]>) -> Self {
        for &byte in text.as_ref() {
            if matches!(byte, b'*' | b'?' | b'[' | b'\\') {
                self.bytes.push(b'\\');
            }
            self.bytes.push(byte);
        }
        self
    }

    /// Adds `*`: any bytes, also none.
    pub fn any(mut self) -> Self {
        self.bytes.push(b'*');
        self
    }

    /// Adds `?`: one byte.
    pub fn one_byte(mut self) -> Self {
        self.bytes.push(b'?');
        self
    }

    /// Adds what `pattern` says, wildcards and all.
    pub fn pattern(mut self, pattern: &Pattern) -> Self {
        self.bytes.extend_from_slice(pattern.as_bytes());
        self
    }

    /// The pattern.
    ///
    /// # Errors
    ///
    /// As [`Pattern::new`]; what counts is the length with the escapes.
    pub fn build(self) -> Result<Pattern, CacheError> {
        Pattern::new(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wildcards_match_what_their_names_say() {
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
        fn a_literal_matches_itself_and_nothing_else(
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
        fn a_pattern_within_a_prefix_matches_what_follows_the_prefix(
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
        fn a_prefix_matches_what_begins_with_it_and_nothing_else(
            text in proptest::collection::vec(prop_oneof![Just(b'*'), Just(b'?'), Just(b'a')], 1..4),
            key in proptest::collection::vec(prop_oneof![Just(b'*'), Just(b'?'), Just(b'a')], 1..6),
        ) {
            prop_assert_eq!(Pattern::prefix(&text).unwrap().matches(&key), key.starts_with(&text));
        }
    }
}
