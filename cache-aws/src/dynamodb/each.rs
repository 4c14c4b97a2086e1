//! Calls with one result per key: a failed batch affects only its own keys that were left unprocessed.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::WriteRequest;
use bytes::Bytes;
use cache_core::{CacheError, Ttl};
use futures::{StreamExt as _, stream};

use super::batch::{Part, READ_AT_ONCE, Undone, WRITTEN_AT_ONCE, put};
use super::layout::Item;
use super::retry::Deadline;
use super::{Table, layout};

/// Results by key.
type Results<T> = HashMap<String, Result<T, CacheError>>;

impl Table {
    /// The value and the remaining TTL of each key; [`CacheError::Miss`] for one that does not exist.
    pub(super) async fn entry_each(&self, keys: &[&str]) -> Vec<Result<(Bytes, Ttl), CacheError>> {
        let checked = keys
            .iter()
            .map(|key| layout::check(key).and_then(|()| self.check_open()));
        let checked: Vec<Result<(), CacheError>> = checked.collect();
        let legal = keys.iter().zip(&checked).filter(|(_, checked)| checked.is_ok());
        let mut legal: Vec<&str> = legal.map(|(key, _)| *key).collect();
        legal.sort_unstable();
        legal.dedup();
        let deadline = self.reading().or_caller_deadline();
        let batches: Vec<_> = legal
            .chunks(READ_AT_ONCE)
            .map(|keys| self.read_each(keys, deadline))
            .collect();
        let found = self.all(batches).await;
        let result = |key: &str| found.get(key).cloned().unwrap_or(Err(CacheError::Miss));
        let results = keys.iter().zip(checked);
        results
            .map(|(key, checked)| checked.and_then(|()| result(key)))
            .collect()
    }

    pub(super) async fn set_each(&self, entries: &[(&str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>> {
        let mut checked = Vec::with_capacity(entries.len());
        // A batch with a duplicate key is refused, and the last entry counts.
        let mut last = HashMap::with_capacity(entries.len());
        for (key, value, ttl) in entries {
            let request = self.request(key, value, *ttl);
            checked.push(request.map(|request| {
                last.insert(*key, request);
            }));
        }
        let deadline = self.writing().or_caller_deadline();
        let requests: Vec<WriteRequest> = last.into_values().collect();
        let batches: Vec<_> = requests
            .chunks(WRITTEN_AT_ONCE)
            .map(|requests| self.write_each(requests.to_vec(), deadline))
            .collect();
        let failed = self.all(batches).await;
        let result = |key: &str| failed.get(key).cloned().unwrap_or(Ok(()));
        let results = entries.iter().zip(checked);
        results
            .map(|((key, ..), checked)| checked.and_then(|()| result(key)))
            .collect()
    }

    /// The request that stores an entry, as a part of a batch.
    fn request(&self, key: &str, value: &Bytes, ttl: Ttl) -> Result<WriteRequest, CacheError> {
        layout::check(key)?;
        layout::check_value(value)?;
        let expiry = self.expiry(ttl)?;
        self.check_open()?;
        Ok(put(key, value, expiry))
    }

    /// The results of all batches. Each has its own deadline.
    async fn all<T>(&self, batches: Vec<impl Future<Output = Results<T>>>) -> Results<T> {
        let results = stream::iter(batches).buffer_unordered(self.options.parallel_requests);
        results
            .fold(HashMap::new(), |mut all, some| {
                all.extend(some);
                std::future::ready(all)
            })
            .await
    }

    /// The results of at most 100 keys. A missing key has no entry.
    async fn read_each(&self, keys: &[&str], deadline: Deadline) -> Results<(Bytes, Ttl)> {
        let mut items = Vec::with_capacity(keys.len());
        let asked: Vec<Item> = keys.iter().map(|key| layout::key_of(key)).collect();
        let read = self.read_into(
            &mut items,
            asked.clone(),
            Part::Whole,
            self.is_consistent(),
            &deadline,
        );
        let undone = self.or_closed(read, asked).await;
        let now = self.clock.now();
        let mut results = Results::with_capacity(items.len());
        for item in items {
            let Some(key) = layout::key_in(&item).map(str::to_owned) else {
                continue;
            };
            let entry = layout::entry(item, now).and_then(|entry| entry.ok_or(CacheError::Miss));
            results.insert(key, entry);
        }
        if let Err(Undone { left, error }) = undone {
            let left = left.iter().filter_map(layout::key_in);
            for key in left {
                results
                    .entry(key.to_owned())
                    .or_insert_with(|| Err(error.clone()));
            }
        }
        results
    }

    /// Which of at most 25 writes failed.
    async fn write_each(&self, requests: Vec<WriteRequest>, deadline: Deadline) -> Results<()> {
        let written = self.write_all(requests.clone(), &deadline);
        let Err(Undone { left, error }) = self.or_closed(written, requests).await else {
            return Results::new();
        };
        let puts = left.iter().filter_map(WriteRequest::put_request);
        let keys = puts.filter_map(|put| layout::key_in(put.item()));
        keys.map(|key| (key.to_owned(), Err(error.clone()))).collect()
    }

    /// Runs `work`, which ends by its deadline. If the client closes, all of `all` fails.
    async fn or_closed<T>(
        &self,
        work: impl Future<Output = Result<(), Undone<T>>>,
        all: Vec<T>,
    ) -> Result<(), Undone<T>> {
        let mut closed = self.closed.subscribe();
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => Err(Undone { left: all, error: CacheError::Closed }),
            done = work => done,
        }
    }
}
