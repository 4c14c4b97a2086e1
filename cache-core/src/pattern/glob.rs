//! The matcher: a pattern read once into elements, then run over keys.
//!
//! The rules, odd cases included, are those of `stringmatchlen` in Valkey's `util.c`.

use std::ffi::c_char;

/// A compiled pattern.
#[derive(Clone)]
pub(super) struct Glob {
    /// The prefix of every matching key.
    prefix: Box<[u8]>,
    /// The elements after the prefix; begins with a wildcard unless it is empty.
    rest: Box<[Element]>,
    /// The position of `rest` in the text.
    start: usize,
}

/// The cost of a pattern for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) stars: usize,
    /// The most comparisons per byte of a key.
    pub(super) each_byte: usize,
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
    /// Whether this element, which is not [`AnyBytes`](Element::AnyBytes), matches the byte.
    #[inline]
    fn takes(&self, byte: u8) -> bool {
        match self {
            Self::Byte(own) => *own == byte,
            Self::AnyByte => true,
            Self::Class(class) => class.holds(byte),
            Self::AnyBytes => false,
        }
    }

    /// The comparisons that it costs a server.
    fn weight(&self) -> usize {
        match self {
            Self::Class(class) => class.shortest().1.items().count().max(1),
            _ => 1,
        }
    }
}

impl Glob {
    pub(super) fn compile(pattern: &[u8]) -> Self {
        let mut prefix = Vec::new();
        let mut rest = Vec::new();
        let (mut at, mut start) = (0, pattern.len());
        while at < pattern.len() {
            let began = at;
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
                element => {
                    start = start.min(began);
                    rest.push(element);
                }
            }
        }
        Self {
            prefix: prefix.into(),
            rest: rest.into(),
            start,
        }
    }

    /// The cost for a server, if the text is the [rewritten](Self::rewritten) one. After a `*`, each byte of
    /// a key may be compared with all elements up to the next `*`; before the first `*`, with one element
    /// only.
    pub(super) fn weight(&self) -> Weight {
        let is_star = |element: &Element| matches!(element, Element::AnyBytes);
        let mut parts = self.rest.split(is_star);
        let before = parts.next().unwrap_or_default();
        let before = before.iter().map(Element::weight).max().unwrap_or(0);
        let after = parts.map(|part| part.iter().map(Element::weight).sum::<usize>());
        Weight {
            stars: self.rest.iter().filter(|element| is_star(element)).count(),
            each_byte: before.max(after.max().unwrap_or(0)),
        }
    }

    /// The most elements between two stars, or after the last star.
    pub(super) fn longest_after_star(&self) -> usize {
        let parts = self.rest.split(|element| matches!(element, Element::AnyBytes));
        parts.skip(1).map(<[Element]>::len).max().unwrap_or(0)
    }

    pub(super) fn wildcard_len(&self) -> usize {
        self.rest.len()
    }

    /// `text`, the source of this pattern, with one `*` in place of several and with the shortest classes;
    /// `None` if it has that form already.
    pub(super) fn rewritten(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = text.get(..self.start)?.to_vec();
        for element in &self.rest {
            match element {
                Element::Byte(byte) => {
                    if matches!(byte, b'*' | b'?' | b'[' | b'\\') {
                        bytes.push(b'\\');
                    }
                    bytes.push(*byte);
                }
                Element::AnyByte => bytes.push(b'?'),
                Element::AnyBytes => bytes.push(b'*'),
                Element::Class(class) => class.write(&mut bytes),
            }
        }
        (*bytes != *text).then_some(bytes)
    }

    /// Whether the whole of `key`, which is not empty, matches.
    ///
    /// On a mismatch only the last `*` takes one more byte: if the rest of the pattern matches nowhere after
    /// it, it matches nowhere after a longer match of an earlier `*` either.
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

    /// The length of the longest run of literal bytes after the prefix for which `counts` is true.
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

/// A set of bytes, one bit each.
#[derive(Clone, Default)]
struct Class([u64; 4]);

impl Class {
    /// Reads the class whose first byte is at `start`. Returns the class and the position of its last byte:
    /// its `]`, or the end of the pattern if that is missing.
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

    /// Adds all bytes between two, in either order, compared as C's `char`.
    fn add_range(&mut self, first: u8, last: u8) {
        let (low, high) = (order(first).min(order(last)), order(first).max(order(last)));
        for byte in 0..=u8::MAX {
            if (low..=high).contains(&order(byte)) {
                self.add(byte);
            }
        }
    }

    /// Its bytes as the fewest ranges (first, last). No range crosses from 0x7f to 0x80, because their order
    /// differs between platforms.
    fn ranges(&self) -> impl Iterator<Item = (u8, u8)> + '_ {
        let begins = |byte: &u8| self.holds(*byte) && (matches!(byte, 0 | 0x80) || !self.holds(byte - 1));
        (0..=u8::MAX).filter(begins).map(|first| {
            let half = if first < 0x80 { 0x7f } else { u8::MAX };
            let last = (first..=half).take_while(|byte| self.holds(*byte)).last();
            (first, last.unwrap_or(first))
        })
    }

    /// As [`ranges`](Self::ranges), but lists ranges of one or two bytes, and bytes with a meaning in a
    /// class, one by one.
    fn items(&self) -> impl Iterator<Item = (u8, u8)> + '_ {
        self.ranges().flat_map(|(first, last)| {
            let alone = (first..=last).take_while(|byte| b"\\]^-".contains(byte)).count();
            let alone = if last - first < 2 {
                usize::from(last - first) + 1
            } else {
                alone
            };
            let singles = (first..=last).take(alone).map(|byte| (byte, byte));
            let rest = (first..=last).nth(alone).map(|next| (next, last));
            singles.chain(rest)
        })
    }

    /// The bytes to list, and whether they are the excluded ones; the choice with fewer items.
    fn shortest(&self) -> (bool, Self) {
        let others = Self(self.0.map(|bits| !bits));
        if others.items().count() < self.items().count() {
            (true, others)
        } else {
            (false, self.clone())
        }
    }

    /// Appends its text.
    fn write(&self, text: &mut Vec<u8>) {
        if self.0 == [u64::MAX; 4] {
            text.push(b'?');
            return;
        }
        let (is_negated, listed) = self.shortest();
        text.push(b'[');
        if is_negated {
            text.push(b'^');
        }
        for (first, last) in listed.items() {
            if b"\\]^-".contains(&first) {
                text.push(b'\\');
            }
            text.push(first);
            if last > first {
                text.extend([b'-', last]);
            }
        }
        text.push(b']');
    }

    #[inline]
    fn holds(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0
    }
}

/// The position of a byte among C's `char`s, which are signed on some platforms and unsigned on others.
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

    /// Each expected result is the answer of a server (Valkey 9.1).
    #[test]
    fn edge_cases_match_the_server() {
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
    fn many_stars_take_no_exponential_time() {
        let pattern = format!("{}b", "*a".repeat(5_000));
        assert!(!matches(&pattern, &"a".repeat(50_000)));
    }

    /// The definition of a match, without optimization: a `*` tries every length.
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
        fn matcher_agrees_with_the_definition(
            pattern in text(b"**?ab[]^-\\c", 10),
            key in text(b"abc-]^", 9).prop_filter("not empty", |key| !key.is_empty()),
        ) {
            let glob = Glob::compile(&pattern);
            let mut elements: Vec<_> = glob.prefix.iter().map(|&byte| Element::Byte(byte)).collect();
            elements.extend(glob.rest.iter().cloned());
            prop_assert_eq!(glob.matches(&key), by_definition(&elements, &key));
        }

        #[test]
        fn any_bytes_compile_and_match_in_time(pattern in proptest::collection::vec(any::<u8>(), 0..64), key in proptest::collection::vec(any::<u8>(), 1..64)) {
            let _ = Glob::compile(&pattern).matches(&key);
        }
    }
}
