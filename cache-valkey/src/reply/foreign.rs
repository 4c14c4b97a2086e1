//! What a server that is broken, or means harm, might answer: for the tests of what reads replies.
//!
//! Not in here: bytes that are no protocol. The wire crate reads those.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{Reply, ServerError};

/// Numbers at which sums and conversions go wrong, as text.
const EDGES: [&str; 10] = [
    "0",
    "-1",
    "65535",
    "65536",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "nan",
];

/// What separates, in the texts that servers answer.
const SEPARATORS: [&str; 12] = [
    "", " ", ":", ",", "=", "-", "@", "[", "]", "->-", "\r\n", "\u{fffd}",
];

/// Any reply, some levels deep. Its texts are often one of `words`.
pub(crate) fn reply(words: &'static [&'static str]) -> impl Strategy<Value = Reply> {
    let word = move || select(words);
    let text = prop_oneof![
        4 => word().prop_map(Bytes::from),
        1 => select(&EDGES[..]).prop_map(Bytes::from),
        1 => proptest::collection::vec(any::<u8>(), 0..12).prop_map(Bytes::from),
    ];
    let integer = prop_oneof![4 => -2..17_000_i64, 1 => any::<i64>(), 1 => select(vec![i64::MIN, i64::MAX])];
    let error = (word(), "\\PC{0,12}").prop_map(|(code, detail)| {
        Reply::Error(Box::new(ServerError {
            code: code.to_owned(),
            detail,
        }))
    });
    let leaf = prop_oneof![
        6 => text.prop_map(Reply::Bulk),
        4 => integer.prop_map(Reply::Int),
        1 => Just(Reply::Nil),
        1 => word().prop_map(|word| Reply::Status(word.into())),
        1 => any::<bool>().prop_map(Reply::Bool),
        1 => any::<f64>().prop_map(Reply::Double),
        1 => error,
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            3 => proptest::collection::vec(inner, 0..6).prop_map(Reply::Array),
            1 => proptest::collection::vec(pair, 0..4).prop_map(Reply::Map),
        ]
    })
}

/// `right`, after some of its numbers became others, and something was put into it or cut out.
pub(crate) fn mangled(right: &'static str) -> impl Strategy<Value = String> {
    let numbers = proptest::collection::vec((any::<Index>(), select(&EDGES[..])), 0..5);
    let cuts = proptest::collection::vec((any::<Index>(), 0..8_usize, select(&SEPARATORS[..])), 0..4);
    (numbers, cuts).prop_map(move |(numbers, cuts)| {
        let mut text = right.to_owned();
        for (which, number) in numbers {
            let places = numbers_in(&text);
            if !places.is_empty() {
                text.replace_range(which.get(&places).clone(), number);
            }
        }
        let mut characters: Vec<char> = text.chars().collect();
        for (at, len, with) in cuts {
            let at = at.index(characters.len() + 1);
            let end = (at + len).min(characters.len());
            characters.splice(at..end, with.chars());
        }
        characters.into_iter().collect()
    })
}

/// Where the runs of digits are.
fn numbers_in(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut found: Vec<std::ops::Range<usize>> = Vec::new();
    for (at, _) in text
        .char_indices()
        .filter(|(_, character)| character.is_ascii_digit())
    {
        match found.last_mut().filter(|range| range.end == at) {
            Some(range) => range.end = at + 1,
            None => found.push(at..at + 1),
        }
    }
    found
}
