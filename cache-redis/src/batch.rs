//! Many keys in one call: split by slot and by size, sent at once, put together in the order of the keys.

use std::collections::BTreeMap;

use cache_core::CacheError;
use cache_core::slot::slot_of;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use redis::{Cmd, Pipeline, Value};

use crate::calls::Call;
use crate::error::undecided;

/// Commands of one pipeline. More would make other calls on the connection wait.
const COMMANDS: usize = 512;

/// Bytes of one pipeline, unless a single command is larger.
const BYTES: usize = 1024 * 1024;

/// One command of a batch.
pub(crate) struct Item<'a> {
    /// The key that routes it.
    pub(crate) key: &'a str,
    /// About how many bytes it has.
    pub(crate) bytes: usize,
}

/// Sends a command for each of `items`, which `make` makes of its index; a result for each, in their order.
///
/// A node that fails concerns the items of its slots only.
pub(crate) async fn send_each(
    call: &Call<'_>,
    name: &'static str,
    items: &[Item<'_>],
    make: impl Fn(usize) -> Cmd,
) -> Vec<Result<Value, CacheError>> {
    let session = match call.session(name).await {
        Ok(session) => session,
        Err(error) => return items.iter().map(|_| Err(error.clone())).collect(),
    };
    let session = &*session;
    let parts = split(items, call.is_cluster());
    // All at once: a node that does not answer must not keep requests to the others waiting.
    let mut sent: FuturesUnordered<_> = parts
        .into_iter()
        .map(|part| {
            let make = &make;
            async move {
                let mut pipeline = Pipeline::with_capacity(part.len());
                for &index in &part {
                    pipeline.add_command(make(index));
                }
                let key = part.first().map_or("", |&index| items[index].key);
                let results = call.send_all(session, name, key, &pipeline).await;
                (part, results)
            }
        })
        .collect();
    let mut all: Vec<_> = items.iter().map(|_| Ok(Value::Nil)).collect();
    while let Some((part, results)) = sent.next().await {
        match results {
            Ok(results) => {
                for (index, result) in part.into_iter().zip(results) {
                    all[index] = result;
                }
            }
            Err(error) => {
                for index in part {
                    all[index] = Err(error.clone());
                }
            }
        }
    }
    all
}

/// All results, or the first error. After an error of a batch that writes, the rest of it may have been carried out.
pub(crate) fn all_or_first_error<T>(
    call: &Call<'_>,
    results: Vec<Result<T, CacheError>>,
) -> Result<Vec<T>, CacheError> {
    let many = results.len() > 1;
    let results: Result<_, _> = results.into_iter().collect();
    results.map_err(|error| {
        if many && call.writes() {
            undecided(error)
        } else {
            error
        }
    })
}

/// The indices of `items` by pipeline: one slot each in a cluster, and no pipeline too large.
fn split(items: &[Item<'_>], by_slot: bool) -> Vec<Vec<usize>> {
    let mut groups = BTreeMap::<u16, Vec<usize>>::new();
    for (index, item) in items.iter().enumerate() {
        let slot = if by_slot { slot_of(item.key.as_bytes()) } else { 0 };
        groups.entry(slot).or_default().push(index);
    }
    let mut parts = Vec::new();
    for group in groups.into_values() {
        let mut part = Vec::new();
        let mut bytes = 0;
        for index in group {
            if part.len() == COMMANDS || (bytes + items[index].bytes > BYTES && !part.is_empty()) {
                parts.push(std::mem::take(&mut part));
                bytes = 0;
            }
            bytes += items[index].bytes;
            part.push(index);
        }
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items<'a>(keys: &'a [String], bytes: usize) -> Vec<Item<'a>> {
        keys.iter().map(|key| Item { key, bytes }).collect()
    }

    #[test]
    fn pipeline_of_a_cluster_holds_keys_of_one_slot() {
        let keys: Vec<String> = (0..1_000)
            .map(|number| format!("{{{}}}:{number}", number % 7))
            .collect();
        let parts = split(&items(&keys, 1), true);
        assert_eq!(parts.len(), 7);
        for part in &parts {
            let slots: Vec<u16> = part
                .iter()
                .map(|&index| slot_of(keys[index].as_bytes()))
                .collect();
            assert!(slots.iter().all(|slot| *slot == slots[0]), "{slots:?}");
        }
        assert_eq!(split(&items(&keys, 1), false).len(), 2);
    }

    #[test]
    fn every_item_is_in_one_pipeline_and_none_is_too_large() {
        let keys: Vec<String> = (0..3_000).map(|number| number.to_string()).collect();
        for bytes in [0, 10, BYTES / 3, BYTES, 2 * BYTES] {
            for by_slot in [false, true] {
                let parts = split(&items(&keys, bytes), by_slot);
                let mut seen: Vec<usize> = parts.iter().flatten().copied().collect();
                seen.sort_unstable();
                assert!(seen.into_iter().eq(0..keys.len()), "{bytes} {by_slot}");
                let fits = |part: &Vec<usize>| {
                    part.len() <= COMMANDS && (part.len() == 1 || part.len() * bytes <= BYTES)
                };
                assert!(parts.iter().all(fits), "{bytes} {by_slot}");
            }
        }
    }
}
