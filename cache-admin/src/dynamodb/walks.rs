//! The steps of walks over a table, and where those that are under way have come to.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use cache_aws::dynamodb::{SegmentPage, SegmentScan};
use cache_core::{CacheError, Pattern};
use futures::future::try_join_all;

use super::Whole;
use super::cursor::Cursor;
use crate::keys::{Find, ScanPage};

/// Places that are kept at most. Each has a key of up to 2 KB for each part of a group: 4 MB in all.
const PLACES: usize = 256;

/// Keys that a step returns at most when it begins a group again, and goes as far as it can.
const CATCHING_UP: usize = 10_000;

/// Pages of each part that such a step reads at most, and keys of each page.
const PAGES: u32 = 64;
const CAUGHT_UP: u32 = 250;

/// A step reads no fewer keys of a part, unless it is to look at fewer in all.
const LEAST: u32 = 25;

/// The walks that are under way.
#[derive(Default)]
pub(super) struct Walks(Mutex<Places>);

#[derive(Default)]
struct Places {
    /// By number, the oldest first.
    kept: VecDeque<(u32, Vec<Part>)>,
}

/// A part of a group that is not at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    segment: u32,
    after: Option<String>,
}

impl Walks {
    /// One step: some keys of every part of a group that is not at its end.
    pub(super) async fn step(
        &self,
        table: &Whole,
        number: u64,
        find: Find<'_>,
    ) -> Result<ScanPage, CacheError> {
        let cursor = match number {
            0 => Cursor::start(table.table.item_count().await.or_else(unknown)?),
            number => Cursor::of_number(number).ok_or_else(|| invalid("is none that a page ended with"))?,
        };
        let start = || {
            let part = |segment| Part { segment, after: None };
            cursor.group().map(part).collect()
        };
        let (mut parts, catches_up): (Vec<Part>, bool) = match cursor.inside {
            0 => (start(), false),
            inside => match self.place(inside) {
                Some(parts) => (parts, false),
                // Once; a walk whose every step goes to another process than the one before would never end.
                None if cursor.again => {
                    return Err(invalid(
                        "is of a walk that another process is in the middle of: send all pages of a listing to one process, \
                         and begin it again",
                    ));
                }
                None => (start(), true),
            },
        };
        let mut keys = Vec::new();
        let mut pages = 0;
        loop {
            let (now, limit) = if catches_up {
                (parts.len(), CAUGHT_UP)
            } else {
                share(find.count, parts.len())
            };
            let mut left = parts.split_off(now);
            let found = one_page_each(table, &parts, cursor.parts(), limit, find.pattern).await?;
            for (part, page) in parts.into_iter().zip(found) {
                let matching = page.keys.into_iter().map(Bytes::from);
                keys.extend(matching.filter(|key| find.pattern.matches(key)));
                if page.after.is_some() {
                    left.push(Part {
                        after: page.after,
                        ..part
                    });
                }
            }
            parts = left;
            pages += 1;
            if parts.is_empty() || !catches_up || keys.len() >= CATCHING_UP || pages >= PAGES {
                break;
            }
        }
        let next = if parts.is_empty() {
            cursor.next()
        } else {
            let again = cursor.again || catches_up;
            Some(cursor.inside(self.keep(parts), again))
        };
        Ok(ScanPage {
            cursor: next.map_or(0, Cursor::to_number),
            keys,
        })
    }

    /// What is kept stays: the same step may be made again.
    fn place(&self, inside: u32) -> Option<Vec<Part>> {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.kept.iter().rev().find(|(number, _)| *number == inside);
        place.map(|(_, parts)| parts.clone())
    }

    /// Keeps a place under a number that no other process has given to one, most likely.
    fn keep(&self, parts: Vec<Part>) -> u32 {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if places.kept.len() >= PLACES {
            places.kept.pop_front();
        }
        let number = loop {
            let number = rand::random::<u32>();
            if number != 0 && places.kept.iter().all(|(other, _)| *other != number) {
                break number;
            }
        };
        places.kept.push_back((number, parts));
        number
    }
}

impl fmt::Debug for Walks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Walks")
    }
}

/// A page of each of `parts`, all at once.
async fn one_page_each(
    table: &Whole,
    parts: &[Part],
    segments: u32,
    limit: u32,
    pattern: &Pattern,
) -> Result<Vec<SegmentPage>, CacheError> {
    // What is not text is the beginning of no key.
    let prefix = text_of(pattern.literal_prefix());
    let pages = parts.iter().map(|part| {
        table.client.scan(SegmentScan {
            segment: part.segment,
            segments,
            after: part.after.as_deref(),
            prefix,
            limit,
        })
    });
    try_join_all(pages).await
}

/// How many of `parts` parts a step that looks at `count` keys reads, and how many keys of each: few keys of many parts
/// would cost a request for each part.
fn share(count: u32, parts: usize) -> (usize, u32) {
    let most = usize::try_from(count / LEAST).unwrap_or(usize::MAX);
    let now = most.clamp(1, parts.max(1)).min(parts);
    let among = u32::try_from(now).unwrap_or(u32::MAX).max(1);
    (now, count.div_ceil(among))
}

/// What `bytes` begin with that is text.
fn text_of(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}

/// A role that may not describe the table walks over it in as few parts as there can be.
fn unknown(error: CacheError) -> Result<u64, CacheError> {
    match error {
        CacheError::Denied { .. } => Ok(0),
        error => Err(error),
    }
}

fn invalid(reason: &'static str) -> CacheError {
    CacheError::InvalidInput {
        argument: "cursor",
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_kept_up_to_their_number_the_newest_ones() {
        let walks = Walks::default();
        let place = |segment| {
            vec![Part {
                segment,
                after: Some("key".to_owned()),
            }]
        };
        let numbers: Vec<u32> = (0..300).map(|segment| walks.keep(place(segment))).collect();
        assert_eq!(walks.place(numbers[299]), Some(place(299)));
        assert_eq!(walks.place(numbers[299]), Some(place(299)), "it stays");
        assert_eq!(walks.place(numbers[0]), None);
        assert_eq!(walks.0.lock().unwrap().kept.len(), PLACES);
    }

    #[test]
    fn few_keys_are_looked_for_in_few_parts() {
        assert_eq!(share(1_000, 8), (8, 125));
        assert_eq!(share(1_000, 3), (3, 334));
        assert_eq!(share(100, 8), (4, 25));
        assert_eq!(share(10, 8), (1, 10));
        assert_eq!(share(1, 8), (1, 1));
    }

    #[test]
    fn a_beginning_is_cut_where_it_is_no_text() {
        assert_eq!(text_of(b"app:"), "app:");
        assert_eq!(text_of(b"app:\xff"), "app:");
        assert_eq!(text_of("app:\u{e9}".as_bytes().split_last().unwrap().1), "app:");
    }
}
