//! The matcher: a pattern read once into elements, then run over keys.
//!
//! The rules, odd cases included, are those of `stringmatchlen` in Valkey's `util.c`.

use std::ffi::c_char;

/// A pattern, read.
#[derive(Clone)]
pub(super) struct Glob {
    /// What every matching key begins with.
    prefix: Box<[u8]>,
    /// What comes after it; begins with a wildcard where it is not empty.
    rest: Box<[Element]>,
}

#[derive(Clone)]
enum Element {
    Byte(u8),
    AnyByte,
    Class(Box<Class>),
    /// Never two in a row.
    AnyBytes,
}

impl Element {
    /// Whether this, which is not [`AnyBytes`](Element::AnyBytes), matches the one byte.
    #[inline]
    fn takes(&self, byte: u8) -> bool {
        match self {
            Self::Byte(own) => *own == byte,
            Self::AnyByte => true,
            Self::Class(class) => class.holds(byte),
            Self::AnyBytes => false,
        }
    }
}

impl Glob {
    pub(super) fn compile(pattern: &[u8]) -> Self {
        let mut prefix = Vec::new();
        let mut rest = Vec::new();
        let mut at = 0;
        while at < pattern.len() {
            let element = match pattern[at] {
                b'*' => Element::AnyBytes,
                b'?' => Element::AnyByte,
                b'[' => {
                    let (class, end) = Class::read(pattern, at + 1);
                    at = end;
                    Element::Class(Box::new(class))
                }
                b'\\' if at + 1 < pattern.len() => {
                    at += 1;
                    Element::Byte(pattern[at])
                }
                byte => Element::Byte(byte),
            };
            at += 1;
            match element {
                Element::Byte(byte) if rest.is_empty() => prefix.push(byte),
                Element::AnyBytes if matches!(rest.last(), Some(Element::AnyBytes)) => {}
                element => rest.push(element),
            }
        }
        Self {
            prefix: prefix.into(),
            rest: rest.into(),
        }
    }

    /// Whether the whole of `key`, which is not empty, matches.
    ///
    /// On a mismatch only the last `*` met takes one byte more: where the rest of the pattern fits
    /// nowhere after it, it fits nowhere after a longer match of an earlier `*` either.
    pub(super) fn matches(&self, key: &[u8]) -> bool {
        let Some(text) = key.strip_prefix(&*self.prefix) else {
            return false;
        };
        let (mut element, mut at) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while at < text.len() {
            match self.rest.get(element) {
                Some(Element::AnyBytes) => {
                    element += 1;
                    if element == self.rest.len() {
                        return true;
                    }
                    retry = Some((element, at));
                }
                Some(one) if one.takes(text[at]) => {
                    element += 1;
                    at += 1;
                }
                _ => {
                    let Some((after_star, from)) = retry else {
                        return false;
                    };
                    element = after_star;
                    at = from + 1;
                    retry = Some((after_star, at));
                }
            }
        }
        self.rest[element..]
            .iter()
            .all(|element| matches!(element, Element::AnyBytes))
    }

    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    pub(super) fn is_literal(&self) -> bool {
        self.rest.is_empty()
    }

    /// The length of the longest run of literal bytes after the prefix of which `counts` holds.
    pub(super) fn longest_run(&self, counts: impl Fn(u8) -> bool) -> usize {
        let (mut longest, mut run) = (0, 0);
        for element in &self.rest {
            run = if matches!(element, Element::Byte(byte) if counts(*byte)) {
                run + 1
            } else {
                0
            };
            longest = longest.max(run);
        }
        longest
    }
}

/// A set of bytes, one bit for each.
#[derive(Clone, Default)]
struct Class([u64; 4]);

impl Class {
    /// Reads the class whose first byte is at `start`; the class and the place of its last byte, which is
    /// its `]` or, where that is missing, the end of the pattern.
    fn read(pattern: &[u8], start: usize) -> (Self, usize) {
        let mut class = Self::default();
        let negated = pattern.get(start) == Some(&b'^');
        let mut at = if negated { start + 1 } else { start };
        while let Some(&byte) = pattern.get(at) {
            match (byte, &pattern[at + 1..]) {
                (b'\\', [escaped, ..]) => {
                    at += 1;
                    class.add(*escaped);
                }
                (b']', _) => break,
                (first, [b'-', last, ..]) => {
                    at += 2;
                    class.add_range(first, *last);
                }
                _ => class.add(byte),
            }
            at += 1;
        }
        if negated {
            class.0 = class.0.map(|bits| !bits);
        }
        (class, at)
    }

    fn add(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    /// Adds all bytes between two, which may stand either way round, in the order of C's `char`.
    fn add_range(&mut self, first: u8, last: u8) {
        let (low, high) = (order(first).min(order(last)), order(first).max(order(last)));
        for byte in 0..=u8::MAX {
            if (low..=high).contains(&order(byte)) {
                self.add(byte);
            }
        }
    }

    #[inline]
    fn holds(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0
    }
}

/// The place of a byte among C's `char`s, which are signed on some platforms and not on others.
fn order(byte: u8) -> i16 {
    const SIGNED: bool = c_char::MIN != 0;
    if SIGNED {
        i16::from(byte.cast_signed())
    } else {
        i16::from(byte)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, key: &str) -> bool {
        Glob::compile(pattern.as_bytes()).matches(key.as_bytes())
    }

    /// Each answer is what a server (Valkey 9.1) gives.
    #[test]
    fn the_odd_cases_are_those_of_the_server() {
        for (pattern, key, answer) in [
            ("[a", "a", true),
            ("[a", "b", false),
            ("[abc", "b", true),
            ("x[", "x", false),
            ("[", "[", false),
            ("[^", "x", true),
            ("[^", "xy", false),
            ("[]", "]", false),
            ("[]a]", "a]", false),
            ("[^]", "x", true),
            ("[^]a]", "xa]", true),
            ("[a-]", "_", true),
            ("[a-]", "-", false),
            ("[a-", "-", true),
            ("[a-]]", "]", true),
            ("[z-a]", "m", true),
            ("[\\]]", "]", true),
            ("[\\a-c]", "b", false),
            ("[\\a-c]", "-", true),
            ("[a-\\]", "]", true),
            ("[\\", "\\", true),
            ("[!a]", "!", true),
            ("[!a]", "b", false),
            ("[a^]", "^", true),
            ("\\", "\\", true),
            ("a\\", "a\\", true),
            ("\\\\", "\\", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("a]", "a]", true),
            ("a**b", "ab", true),
            ("a*", "a", true),
            ("a*b*c", "axbxbxc", true),
            ("*a", "a", true),
            ("?*", "a", true),
            ("*?", "a", true),
            ("**?**", "ab", true),
            ("??", "é", true),
            ("?", "é", false),
        ] {
            assert_eq!(matches(pattern, key), answer, "{pattern} on {key}");
        }
    }

    #[test]
    fn many_stars_do_not_blow_up() {
        let pattern = format!("{}b", "*a".repeat(5_000));
        assert!(!matches(&pattern, &"a".repeat(50_000)));
    }

    /// The definition of a match, without any thought for speed: a `*` tries every length.
    fn by_definition(elements: &[Element], text: &[u8]) -> bool {
        match elements {
            [] => text.is_empty(),
            [Element::AnyBytes, rest @ ..] => {
                (0..=text.len()).any(|taken| by_definition(rest, &text[taken..]))
            }
            [one, rest @ ..] => {
                text.first().is_some_and(|&byte| one.takes(byte)) && by_definition(rest, &text[1..])
            }
        }
    }

    fn text(alphabet: &'static [u8], max: usize) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(proptest::sample::select(alphabet), 0..max)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn a_match_is_what_the_definition_says(
            pattern in text(b"**?ab[]^-\\c", 10),
            key in text(b"abc-]^", 9).prop_filter("not empty", |key| !key.is_empty()),
        ) {
            let glob = Glob::compile(&pattern);
            let mut elements: Vec<_> = glob.prefix.iter().map(|&byte| Element::Byte(byte)).collect();
            elements.extend(glob.rest.iter().cloned());
            prop_assert_eq!(glob.matches(&key), by_definition(&elements, &key));
        }

        #[test]
        fn any_bytes_are_a_pattern_that_ends(pattern in proptest::collection::vec(any::<u8>(), 0..64), key in proptest::collection::vec(any::<u8>(), 1..64)) {
            let _ = Glob::compile(&pattern).matches(&key);
        }
    }
}
