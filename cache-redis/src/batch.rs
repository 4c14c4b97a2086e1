//! Sends many commands of one call at once, and returns the results in order.
//!
//! A single server gets pipelines. A cluster gets separate requests over the same connections: while a slot
//! migrates, its keys are on two nodes, and redirecting a whole pipeline would miss the keys that have not
//! moved yet.

use cache_core::CacheError;
use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use redis::{Cmd, Pipeline, Value};

use crate::calls::Call;
use crate::connection::Session;

/// The most commands in one pipeline. A longer one would make other calls on the connection wait.
const COMMANDS: usize = 512;

/// The most bytes in one pipeline, unless a single command is larger.
const BYTES: usize = 1024 * 1024;

/// One command of a batch.
pub(crate) struct Item<'a> {
    /// The key that routes it.
    pub(crate) key: &'a str,
    /// Its approximate size in bytes.
    pub(crate) bytes: usize,
}

/// Sends a command for each of `items`, which `make` builds from the index. Returns a result for each, in
/// order; at once and without I/O if there are none.
///
/// In a cluster, a failing node affects only its own items.
pub(crate) async fn send_each(
    call: &Call<'_>,
    name: &'static str,
    items: &[Item<'_>],
    make: impl Fn(usize) -> Cmd,
) -> Vec<Result<Value, CacheError>> {
    if items.is_empty() {
        return Vec::new();
    }
    match call.session(name).await {
        Err(error) => items.iter().map(|_| Err(error.clone())).collect(),
        Ok(session) if call.is_cluster() => {
            // All at once, so that a node that does not answer does not delay requests to the others.
            let (session, make) = (&*session, &make);
            join_all(items.iter().enumerate().map(|(index, item)| async move {
                call.send_over(session, name, item.key, &make(index)).await
            }))
            .await
        }
        Ok(session) => in_pipelines(call, &*session, name, items, make).await,
    }
}

async fn in_pipelines(
    call: &Call<'_>,
    session: &dyn Session,
    name: &'static str,
    items: &[Item<'_>],
    make: impl Fn(usize) -> Cmd,
) -> Vec<Result<Value, CacheError>> {
    let make = &make;
    let mut sent: FuturesUnordered<_> = split(items)
        .into_iter()
        .map(|part| async move {
            let mut pipeline = Pipeline::with_capacity(part.len());
            for index in part.clone() {
                pipeline.add_command(make(index));
            }
            (part, call.send_all(session, name, &pipeline).await)
        })
        .collect();
    let mut all: Vec<_> = items.iter().map(|_| Ok(Value::Nil)).collect();
    while let Some((part, results)) = sent.next().await {
        match results {
            Ok(results) => {
                for (index, result) in part.zip(results) {
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

/// All results, or the first error. If a batch that writes fails, other commands of it may have been applied.
pub(crate) fn all_or_first_error<T>(
    call: &Call<'_>,
    results: Vec<Result<T, CacheError>>,
) -> Result<Vec<T>, CacheError> {
    let many = results.len() > 1;
    let results: Result<_, _> = results.into_iter().collect();
    results.map_err(|error| {
        if many && call.writes() {
            error.with_unknown_outcome()
        } else {
            error
        }
    })
}

/// Splits `items` into pipelines, as ranges of indices.
fn split(items: &[Item<'_>]) -> Vec<std::ops::Range<usize>> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, item) in items.iter().enumerate() {
        if index - start == COMMANDS || (bytes + item.bytes > BYTES && index > start) {
            parts.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes += item.bytes;
    }
    parts.push(start..items.len());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_fill_pipelines_up_to_the_limit() {
        for bytes in [0, 10, BYTES / 3, BYTES, 2 * BYTES] {
            for count in [1, COMMANDS, COMMANDS + 1, 3_000] {
                let items: Vec<_> = (0..count).map(|_| Item { key: "key", bytes }).collect();
                let parts = split(&items);
                assert!(parts.iter().cloned().flatten().eq(0..count), "{bytes} {count}");
                let fits = |part: &std::ops::Range<usize>| {
                    !part.is_empty()
                        && part.len() <= COMMANDS
                        && (part.len() == 1 || part.len() * bytes <= BYTES)
                };
                assert!(parts.iter().all(fits), "{bytes} {count}");
            }
        }
        let small: Vec<_> = (0..COMMANDS)
            .map(|_| Item {
                key: "key",
                bytes: 10,
            })
            .collect();
        assert_eq!(split(&small).len(), 1);
    }
}
