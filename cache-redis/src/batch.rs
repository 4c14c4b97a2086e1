//! Many keys in one call: sent at once, put together in the order of the keys.
//!
//! To one server they go in pipelines. To a cluster each goes on its own, over the same connections: while a slot moves,
//! keys of one slot are on two nodes, and a pipeline that is redirected as a whole would miss the keys that have not moved
//! yet.

use cache_core::CacheError;
use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use redis::{Cmd, Pipeline, Value};

use crate::calls::Call;
use crate::connection::Session;

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

/// Sends a command for each of `items`, which `make` makes of its index; a result for each, in their order. Without
/// items it does nothing and is ready at once.
///
/// In a cluster a node that fails concerns its own items only.
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
            // All at once: a node that does not answer must not keep requests to the others waiting.
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

/// All results, or the first error. After an error of a batch that writes, the rest of it may have been carried out.
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

/// The indices of `items` by pipeline.
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
