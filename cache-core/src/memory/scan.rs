//! Lists and purges by pattern, in steps that hold no lock between them.

use super::MemoryCache;
use super::access::{is_alive, read, write};
use crate::{Pattern, clock};

/// One step of a [`scan`](MemoryCache::scan).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScanPage {
    /// Where to continue; 0 is the end.
    pub cursor: u64,
    /// The keys found in this step; an empty list does not mean the end.
    pub keys: Vec<String>,
}

/// The number of slots visited under one lock.
const PAGE: usize = 256;

impl MemoryCache {
    /// Deletes the entries whose keys match, and returns how many there were.
    ///
    /// It works in steps and holds no lock between them, so other callers are hardly affected. Keys that are
    /// stored during the call may or may not be deleted. It does not yield to other tasks: for a large cache,
    /// run it where blocking is allowed.
    pub fn invalidate(&self, pattern: &Pattern) -> u64 {
        let mut removed = 0;
        for shard in &self.shards {
            let mut from = 0;
            loop {
                let (end, slots) = self.telling(|news| {
                    let mut shard = write(shard);
                    let now = clock::now();
                    let end = shard.slots().min(from + PAGE);
                    for slot in from..end {
                        let Some(stored) = shard.at(slot) else { continue };
                        if pattern.matches(stored.key.as_bytes()) {
                            removed += u64::from(is_alive(stored, now));
                            self.take(&mut shard, slot, news);
                        }
                    }
                    (end, shard.slots())
                });
                // Slots at the end may have been removed with their entries.
                if end >= slots {
                    break;
                }
                from = end;
            }
        }
        removed
    }

    /// Lists the matching keys in steps: begin with cursor 0, continue with the page's cursor, end when it is
    /// 0 again. A step visits about `count` entries (at least one), whether they match or not. However large
    /// `count` is, a writer waits for at most a few hundred of them.
    ///
    /// A key that exists from the first step to the last is returned exactly once; a key that is added or
    /// removed during the scan may be returned. No lock is held between the steps, and an unfinished scan
    /// keeps no state.
    ///
    /// ```
    /// # use cache_core::{CacheClient, CacheError, MemoryCache, Pattern, Ttl};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let cache = MemoryCache::default();
    /// # cache.set("app:1", "".into(), Ttl::Forever).await?;
    /// # cache.set("other", "".into(), Ttl::Forever).await?;
    /// let (pattern, mut cursor, mut keys) = (Pattern::new("app:*")?, 0, Vec::new());
    /// loop {
    ///     let page = cache.scan(&pattern, cursor, 1_000);
    ///     keys.extend(page.keys);
    ///     cursor = page.cursor;
    ///     if cursor == 0 {
    ///         break;
    ///     }
    /// }
    /// assert_eq!(keys, ["app:1"]);
    /// # Ok::<(), CacheError>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn scan(&self, pattern: &Pattern, cursor: u64, count: usize) -> ScanPage {
        let mut keys = Vec::new();
        let mut left = count.max(1);
        let (mut number, mut from) = read_cursor(cursor);
        while let Some(shard) = self.shards.get(number) {
            let shard = read(shard);
            let now = clock::now();
            let end = shard.slots().min(from.saturating_add(left.min(PAGE)));
            for slot in from..end {
                let Some(stored) = shard.at(slot) else { continue };
                if is_alive(stored, now) && pattern.matches(stored.key.as_bytes()) {
                    keys.push(String::from(&*stored.key));
                }
            }
            left = left.saturating_sub(end.saturating_sub(from));
            (number, from) = if end < shard.slots() {
                (number, end)
            } else {
                (number + 1, 0)
            };
            if left == 0 && number < self.shards.len() {
                return ScanPage {
                    cursor: make_cursor(number, from),
                    keys,
                };
            }
        }
        ScanPage { cursor: 0, keys }
    }
}

/// The shard in the low 16 bits, the slot above.
fn make_cursor(shard: usize, slot: usize) -> u64 {
    let [shard, slot] = [shard, slot].map(|number| u64::try_from(number).unwrap_or(u64::MAX));
    slot << 16 | shard
}

/// The shard and the slot; any cursor is safe to use.
fn read_cursor(cursor: u64) -> (usize, usize) {
    let [low, high, ..] = cursor.to_le_bytes();
    (
        usize::from(u16::from_le_bytes([low, high])),
        usize::try_from(cursor >> 16).unwrap_or(usize::MAX),
    )
}
