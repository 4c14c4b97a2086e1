//! Calls with many keys: split at the service's limits, with unprocessed items sent again.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::ReturnConsumedCapacity::Total;
use aws_sdk_dynamodb::types::{DeleteRequest, KeysAndAttributes, PutRequest, WriteRequest};
use bytes::Bytes;
use cache_core::{CacheError, Outcome, Unavailability};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::layout::{EXPIRES, Expiry, Item, KEY};
use super::retry::{Deadline, Effect, delay};
use super::{Table, layout};

/// The most keys in one `BatchGetItem`.
pub(super) const READ_AT_ONCE: usize = 100;
/// The most items in one `BatchWriteItem`.
pub(super) const WRITTEN_AT_ONCE: usize = 25;

/// Which attributes of items are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    /// The key and the expiry. Costs as much as the whole item, but transfers less.
    Expiry,
}

impl Table {
    pub(super) async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        self.check_open()?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let deadline = self.reading();
        self.within(deadline, async {
            let items = self
                .items(keys, Part::Whole, self.is_consistent(), &deadline)
                .await?;
            let now = self.clock.now();
            let mut values: HashMap<String, Bytes> = HashMap::with_capacity(items.len());
            for item in items {
                let Some(key) = layout::key_in(&item).map(str::to_owned) else {
                    continue;
                };
                if let Some((value, _)) = layout::entry(item, now)? {
                    values.insert(key, value);
                }
            }
            Ok(keys.iter().map(|key| values.get(*key).cloned()).collect())
        })
        .await
    }

    pub(super) async fn exists(&self, keys: &[&str]) -> Result<u64, CacheError> {
        self.check_open()?;
        if keys.is_empty() {
            return Ok(0);
        }
        let deadline = self.reading();
        self.within(deadline, async {
            let items = self.items(keys, Part::Expiry, true, &deadline).await?;
            let now = self.clock.now();
            let mut there: HashMap<&str, u64> = HashMap::with_capacity(items.len());
            for item in &items {
                if let (Some(key), Some(_)) = (layout::key_in(item), layout::remaining(item, now)?) {
                    there.insert(key, 1);
                }
            }
            Ok(keys.iter().filter_map(|key| there.get(key)).sum())
        })
        .await
    }

    pub(super) async fn set_many(
        &self,
        entries: &[(&str, Bytes)],
        expiry: Option<Expiry>,
    ) -> Result<(), CacheError> {
        self.check_open()?;
        if entries.is_empty() {
            return Ok(());
        }
        let deadline = self.writing();
        self.within(deadline, async {
            // A batch with a duplicate key is refused, and the last value counts.
            let last: HashMap<&str, &Bytes> = entries.iter().map(|(key, value)| (*key, value)).collect();
            let entries: Vec<(&str, &Bytes)> = last.into_iter().collect();
            let write = |entries: &[(&str, &Bytes)]| {
                let requests = entries
                    .iter()
                    .map(|(key, value)| put(key, value, expiry))
                    .collect();
                self.write_batch(requests, &deadline)
            };
            let batches: Vec<_> = entries.chunks(WRITTEN_AT_ONCE).map(write).collect();
            stream::iter(batches)
                .buffer_unordered(self.options.parallel_requests)
                .try_for_each(|()| std::future::ready(Ok(())))
                .await
        })
        .await
    }

    pub(super) async fn del(&self, keys: &[&str]) -> Result<u64, CacheError> {
        self.check_open()?;
        if keys.is_empty() {
            return Ok(0);
        }
        let deadline = self.writing();
        let keys = distinct(keys);
        self.within(deadline, async {
            // One by one, because a batch does not say which of its keys existed.
            let deletes: Vec<_> = keys.iter().map(|key| self.delete(key, None, &deadline)).collect();
            stream::iter(deletes)
                .buffer_unordered(self.options.parallel_requests)
                .try_fold(0, |sum, there| std::future::ready(Ok(sum + u64::from(there))))
                .await
        })
        .await
    }

    /// The items of `keys`, each once, in any order.
    pub(super) async fn items(
        &self,
        keys: &[&str],
        part: Part,
        consistent: bool,
        deadline: &Deadline,
    ) -> Result<Vec<Item>, CacheError> {
        let keys = distinct(keys);
        let read = |keys: &[&str]| {
            let keys = keys.iter().map(|key| layout::key_of(key)).collect();
            self.read_batch(keys, part, consistent, deadline)
        };
        let batches: Vec<_> = keys.chunks(READ_AT_ONCE).map(read).collect();
        stream::iter(batches)
            .buffer_unordered(self.options.parallel_requests)
            .try_fold(Vec::with_capacity(keys.len()), |mut all: Vec<Item>, some| {
                all.extend(some);
                std::future::ready(Ok(all))
            })
            .await
    }

    /// The items of at most 100 keys.
    async fn read_batch(
        &self,
        keys: Vec<Item>,
        part: Part,
        consistent: bool,
        deadline: &Deadline,
    ) -> Result<Vec<Item>, CacheError> {
        let mut items = Vec::with_capacity(keys.len());
        let read = self.read_into(&mut items, keys, part, consistent, deadline);
        read.await.map_err(|unread| unread.error)?;
        Ok(items)
    }

    /// Appends the items of at most 100 keys. After an error, it has the items read so far.
    pub(super) async fn read_into(
        &self,
        items: &mut Vec<Item>,
        mut keys: Vec<Item>,
        part: Part,
        consistent: bool,
        deadline: &Deadline,
    ) -> Result<(), Undone<Item>> {
        let mut rounds = Rounds::default();
        loop {
            let asked = keys.len();
            let answer = self.send(Effect::Read, deadline, || async {
                let mut asked = KeysAndAttributes::builder()
                    .set_keys(Some(keys.clone()))
                    .consistent_read(consistent);
                if part == Part::Expiry {
                    asked = asked
                        .projection_expression("#key, #expires")
                        .expression_attribute_names("#key", KEY)
                        .expression_attribute_names("#expires", EXPIRES);
                }
                let asked = asked.build().map_err(|_| unbuilt())?;
                let request = self
                    .client
                    .batch_get_item()
                    .request_items(&self.name, asked)
                    .return_consumed_capacity(Total);
                match request.send().await {
                    Ok(answer) => Ok(answer),
                    Err(error) => Err(self.translate("dynamodb:BatchGetItem", deadline, &error)),
                }
            });
            let answer = match answer.await {
                Ok(answer) => answer,
                Err(error) => return Err(Undone { left: keys, error }),
            };
            self.cost.read(answer.consumed_capacity.iter().flatten());
            items.extend(
                answer
                    .responses
                    .into_iter()
                    .flatten()
                    .flat_map(|(_, items)| items),
            );
            let left = answer.unprocessed_keys.into_iter().flatten();
            keys = left.flat_map(|(_, left)| left.keys).collect();
            if keys.is_empty() {
                return Ok(());
            }
            self.cost.unprocessed(keys.len());
            if rounds.rest(asked > keys.len(), deadline).await.is_err() {
                let error = self.unprocessed(keys.len(), Outcome::NotApplied);
                return Err(Undone { left: keys, error });
            }
        }
    }

    /// Applies at most 25 writes.
    pub(super) async fn write_batch(
        &self,
        requests: Vec<WriteRequest>,
        deadline: &Deadline,
    ) -> Result<(), CacheError> {
        let all = requests.len();
        let written = self.write_all(requests, deadline).await;
        // If a part of the batch was applied, the outcome is unknown even if the last request was not
        // applied.
        written.map_err(|unwritten| match unwritten.left.len() < all {
            true => unwritten.error.with_unknown_outcome(),
            false => unwritten.error,
        })
    }

    /// Applies at most 25 writes. After an error, says which of them have no result.
    pub(super) async fn write_all(
        &self,
        mut requests: Vec<WriteRequest>,
        deadline: &Deadline,
    ) -> Result<(), Undone<WriteRequest>> {
        let mut rounds = Rounds::default();
        loop {
            let asked = requests.len();
            let answer = self.send(Effect::Write, deadline, || async {
                let request = self
                    .client
                    .batch_write_item()
                    .request_items(&self.name, requests.clone())
                    .return_consumed_capacity(Total);
                match request.send().await {
                    Ok(answer) => Ok(answer),
                    Err(error) => Err(self.translate("dynamodb:BatchWriteItem", deadline, &error)),
                }
            });
            let answer = match answer.await {
                Ok(answer) => answer,
                Err(error) => {
                    return Err(Undone {
                        left: requests,
                        error,
                    });
                }
            };
            self.cost.write(answer.consumed_capacity.iter().flatten());
            let left = answer.unprocessed_items.into_iter().flatten();
            requests = left.flat_map(|(_, left)| left).collect();
            if requests.is_empty() {
                return Ok(());
            }
            self.cost.unprocessed(requests.len());
            if rounds.rest(asked > requests.len(), deadline).await.is_err() {
                let error = self.unprocessed(requests.len(), Outcome::Unknown);
                return Err(Undone {
                    left: requests,
                    error,
                });
            }
        }
    }

    fn unprocessed(&self, keys: usize, outcome: Outcome) -> CacheError {
        CacheError::Unavailable {
            reason: Unavailability::NotReady,
            detail: format!(
                "DynamoDB left {keys} keys of a batch on the table {} unprocessed until the deadline: the table or a hot key is throttled",
                self.name
            )
            .into(),
            outcome,
            source: None,
        }
    }
}

/// The rest of a batch that failed, and the error.
#[derive(Debug)]
pub(super) struct Undone<T> {
    pub(super) left: Vec<T>,
    pub(super) error: CacheError,
}

/// How often in a row a batch made no progress.
#[derive(Debug, Default)]
struct Rounds(u32);

impl Rounds {
    /// Waits before the rest of a batch is sent again. Fails if there is no time for that.
    async fn rest(&mut self, got_somewhere: bool, deadline: &Deadline) -> Result<(), ()> {
        self.0 = if got_somewhere { 0 } else { self.0 + 1 };
        let delay = delay(self.0);
        if delay >= deadline.remaining() {
            return Err(());
        }
        tokio::time::sleep(delay).await;
        Ok(())
    }
}

/// Each of `keys` once.
fn distinct<'a>(keys: &[&'a str]) -> Vec<&'a str> {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    keys
}

pub(super) fn put(key: &str, value: &[u8], expiry: Option<Expiry>) -> WriteRequest {
    let put = PutRequest::builder().set_item(Some(layout::item(key, value, expiry)));
    // Its one field is set.
    let put = put.build().ok();
    WriteRequest::builder().set_put_request(put).build()
}

/// The removal of `key`, as a part of a batch.
pub(super) fn removal(key: &str) -> WriteRequest {
    let delete = DeleteRequest::builder().set_key(Some(layout::key_of(key)));
    let delete = delete.build().ok();
    WriteRequest::builder().set_delete_request(delete).build()
}

fn unbuilt() -> CacheError {
    CacheError::Unsupported {
        detail: "the AWS SDK does not take this batch".into(),
    }
}
