//! The pattern that is sent to a server in place of another one, so that it costs the server little.
//!
//! A server compares a key with a pattern byte by byte, and with a class member by member, while its other
//! clients wait. Not in here: how many keys the server visits in one call.

use super::Pattern;
use super::glob::Weight;

/// The most comparisons per byte of a key.
const MOST_WEIGHT: usize = 16;

/// The most `*`. Before Redis 6.2.11 and 7.0.9, servers take time exponential in their number.
const MOST_STARS: usize = 3;

/// A pattern to send to a server, from [`Pattern::asked`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The pattern to send.
    pub pattern: Pattern,
    /// Whether it matches the same keys. Otherwise it matches more, and the caller has to filter the answer.
    pub is_exact: bool,
}

impl Pattern {
    /// The pattern to send to a server, so that a `SCAN` delays its other clients only briefly: at most 16
    /// comparisons per byte of a key and three `*`. Classes are written with as few members as possible. A
    /// pattern that costs more is replaced by its [`literal_prefix`](Pattern::literal_prefix), and the caller
    /// filters.
    ///
    /// ```
    /// use cache_core::Pattern;
    ///
    /// let padded = Pattern::new("billing:*[~~~~~~~~]")?.asked();
    /// assert_eq!((padded.pattern.to_string().as_str(), padded.is_exact), ("billing:*[~]", true));
    /// let costly = Pattern::new("billing:*a long text that is nowhere")?.asked();
    /// assert_eq!((costly.pattern.to_string().as_str(), costly.is_exact), ("billing:*", false));
    /// # Ok::<(), cache_core::CacheError>(())
    /// ```
    #[must_use]
    pub fn asked(&self) -> Asked {
        if self.is_literal() {
            return self.exactly();
        }
        let Weight { stars, each_byte } = self.glob.weight();
        if each_byte > MOST_WEIGHT || stars > MOST_STARS {
            // An empty prefix means every key, and so does one that is too long when escaped.
            return Asked {
                pattern: Self::prefix(self.literal_prefix()).unwrap_or_else(|_| Self::all()),
                is_exact: false,
            };
        }
        match self.glob.rewritten(&self.bytes) {
            Some(bytes) => Asked {
                pattern: Self::of_checked(bytes),
                is_exact: true,
            },
            None => self.exactly(),
        }
    }

    fn exactly(&self) -> Asked {
        Asked {
            pattern: self.clone(),
            is_exact: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(pattern: &[u8]) -> (String, bool) {
        let asked = Pattern::new(pattern).unwrap().asked();
        (asked.pattern.to_string(), asked.is_exact)
    }

    #[test]
    fn server_pattern_costs_at_most_16_comparisons_per_byte() {
        let class = |filling: &[u8]| {
            let filled = filling.iter().cycle().take(65_000).copied();
            b"k:*["
                .iter()
                .copied()
                .chain(filled)
                .chain([b']'])
                .collect::<Vec<u8>>()
        };
        let every_other: Vec<u8> = (0..=u8::MAX)
            .step_by(2)
            .filter(|byte| !b"\\]^-".contains(byte))
            .collect();
        let patterns = [
            class(b"~"),
            class(b"ab"),
            class(&every_other),
            b"*a".repeat(1_000),
            [b"k:*".as_slice(), &b"?".repeat(1_000)].concat(),
            [b"k:*".as_slice(), &b"[a-z]".repeat(1_000)].concat(),
            [b"k:*".as_slice(), &b"a".repeat(1_000)].concat(),
            b"k:[acegikmoqsuwy02468ACEGIKMOQSUWY]*".to_vec(),
        ];
        for pattern in patterns {
            let sent = Pattern::new(pattern.clone()).unwrap().asked().pattern;
            let Weight { stars, each_byte } = sent.glob.weight();
            let shown: Vec<u8> = pattern.into_iter().take(20).collect();
            assert!(
                each_byte <= 16 && stars <= 3,
                "{}: {each_byte}, {stars}",
                shown.escape_ascii()
            );
            assert!(sent.as_bytes().len() < 600, "{}", shown.escape_ascii());
        }
    }

    #[test]
    fn cheap_pattern_is_sent_unchanged() {
        for text in [
            "billing:*",
            "a?c",
            r"a\*b",
            "*",
            "billing:*:settings:??",
            "billing:*:user:*",
            r"\{a}*",
        ] {
            assert_eq!(asked(text.as_bytes()), (text.to_owned(), true));
        }
        assert_eq!(asked(b"k:**[aaab-db]"), ("k:*[a-d]".to_owned(), true));
        assert_eq!(asked(b"k:*[]x-z-]"), ("k:*[]x-z-]".to_owned(), true));
        assert_eq!(asked(b"*a*b*c*d"), ("*".to_owned(), false));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn server_pattern_matches_the_same_or_declares_more(
            pattern in proptest::collection::vec(
                prop_oneof![4 => proptest::sample::select(&b"**?ab[[]^-\\]c{}"[..]), 1 => any::<u8>()], 1..14),
            key in proptest::collection::vec(
                prop_oneof![4 => proptest::sample::select(&b"abc-]^\\{}"[..]), 1 => any::<u8>()], 1..9),
        ) {
            let pattern = Pattern::new(pattern).unwrap();
            let asked = pattern.asked();
            if asked.is_exact {
                prop_assert_eq!(asked.pattern.matches(&key), pattern.matches(&key), "{} {}", pattern, asked.pattern);
            } else {
                prop_assert!(asked.pattern.matches(&key) || !pattern.matches(&key));
            }
            prop_assert!(asked.pattern.slot() == pattern.slot() || !asked.is_exact);
            prop_assert!(pattern.slot().is_none() || asked.pattern.slot() == pattern.slot());
        }

        #[test]
        fn rewritten_class_matches_the_same_bytes(members in proptest::collection::vec(any::<u8>(), 0..40), byte: u8) {
            let escaped: Vec<u8> = members.iter().flat_map(|member| [b'\\', *member]).collect();
            let pattern = Pattern::new([b"k[", &escaped[..], b"]"].concat()).unwrap();
            let asked = pattern.asked();
            let key = [b'k', byte];
            prop_assert!(!asked.is_exact || asked.pattern.matches(&key) == members.contains(&byte));
        }
    }
}
