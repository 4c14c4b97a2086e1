//! Scans all keys of the table and removes keys, for administration.
//!
//! Not in here: the position of a scan, and which keys to look for. The administration decides that.

use aws_sdk_dynamodb::types::ReturnConsumedCapacity::Total;
use cache_core::{CacheError, Outcome, Ttl};
use futures::StreamExt as _;
use futures::stream;

use super::batch::{Part, removal};
use super::layout::{EXPIRES, KEY};
use super::retry::Effect;
use super::{DynamoClient, layout};

/// One step of a scan over a segment of the table.
#[derive(Clone, Copy, Debug)]
pub struct SegmentScan<'a> {
    /// Which segment of the table, from 0.
    pub segment: u32,
    /// How many segments there are, at most 1,000,000. A key stays in its segment as long as this number is
    /// the same.
    pub segments: u32,
    /// The key after which the step begins; `None` is the start of the segment.
    pub after: Option<&'a str>,
    /// The prefix of the keys. Other keys are read, and paid for, but not returned.
    pub prefix: &'a str,
    /// How many keys to read, at least 1.
    pub limit: u32,
}

/// The result of one step of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentPage {
    /// The keys of unexpired entries.
    pub keys: Vec<String>,
    /// The key after which the next step begins; `None` at the end of the segment.
    pub after: Option<String>,
    /// How many items were read.
    pub looked_at: u64,
}

/// How many items one batch removes.
const REMOVED_AT_ONCE: usize = 25;

impl DynamoClient {
    /// Reads some keys of a segment of the table. Eventually consistent: a recently stored entry may be
    /// missing, and a recently deleted one may be returned.
    ///
    /// # Errors
    ///
    /// As a read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn scan(&self, step: SegmentScan<'_>) -> Result<SegmentPage, CacheError> {
        let table = &self.table;
        let deadline = table.reading();
        let limit = i32::try_from(step.limit.max(1)).unwrap_or(i32::MAX);
        let part = |number| i32::try_from(number).unwrap_or(i32::MAX);
        let scan = table.send(Effect::Read, &deadline, || async {
            let mut request = table
                .client
                .scan()
                .table_name(&table.name)
                .segment(part(step.segment))
                .total_segments(part(step.segments))
                .limit(limit)
                .set_exclusive_start_key(step.after.map(layout::key_of))
                .projection_expression("#key")
                .expression_attribute_names("#key", KEY)
                .expression_attribute_names("#expires", EXPIRES)
                .expression_attribute_values(":now", layout::number(table.clock.now()))
                .return_consumed_capacity(Total);
            let live = "(attribute_not_exists(#expires) OR #expires > :now)";
            request = if step.prefix.is_empty() {
                request.filter_expression(live)
            } else {
                let prefix = aws_sdk_dynamodb::types::AttributeValue::S(step.prefix.to_owned());
                request
                    .filter_expression(format!("begins_with(#key, :prefix) AND {live}"))
                    .expression_attribute_values(":prefix", prefix)
            };
            match request.send().await {
                Ok(answer) => Ok(answer),
                Err(error) => Err(table.translate("dynamodb:Scan", &deadline, &error)),
            }
        });
        let answer = table.within(deadline, Box::pin(scan)).await?;
        table.cost.read(&answer.consumed_capacity);
        let keys = answer.items().iter().filter_map(layout::key_in);
        let after = answer.last_evaluated_key().and_then(layout::key_in);
        Ok(SegmentPage {
            keys: keys.map(str::to_owned).collect(),
            after: after.map(str::to_owned),
            looked_at: u64::try_from(answer.scanned_count()).unwrap_or(0),
        })
    }

    /// Removes `keys` with any value, in batches; each batch has the whole write timeout. Keys that could not
    /// be removed are returned with the last error. If its [outcome](CacheError::outcome) is unknown, some of
    /// them may be gone. A batch does not say which of its keys existed.
    ///
    /// # Errors
    ///
    /// The keys that could not be removed, and why.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; some of the keys may be gone.
    pub async fn remove(&self, keys: &[&str]) -> Result<(), (Vec<String>, CacheError)> {
        let table = &self.table;
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        let batches: Vec<_> = keys
            .chunks(REMOVED_AT_ONCE)
            .map(|keys| async move {
                let deadline = table.writing();
                let requests = keys.iter().map(|key| removal(key)).collect();
                let removed = table
                    .within(deadline, table.write_batch(requests, &deadline))
                    .await;
                removed.map_err(|error| (keys, error))
            })
            .collect();
        let ended = stream::iter(batches).buffer_unordered(table.options.parallel_requests);
        let mut failed: Option<(Vec<String>, CacheError)> = None;
        let mut ended = std::pin::pin!(ended);
        while let Some(batch) = ended.next().await {
            if let Err((keys, error)) = batch {
                let (all, last) = failed.get_or_insert_with(|| (Vec::new(), error.clone()));
                all.extend(keys.iter().map(|key| (*key).to_owned()));
                // Keep an unknown outcome of an earlier batch.
                if last.outcome() == Outcome::NotApplied {
                    *last = error;
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// The remaining TTLs of `keys`, in order; `None` for a missing entry.
    ///
    /// # Errors
    ///
    /// As a read.
    pub async fn ttls(&self, keys: &[&str]) -> Result<Vec<Option<Ttl>>, CacheError> {
        let table = &self.table;
        let deadline = table.reading();
        let items = table.within(deadline, table.items(keys, Part::Expiry, true, &deadline));
        let items = items.await?;
        let now = table.clock.now();
        let mut ttls = std::collections::HashMap::with_capacity(items.len());
        for item in &items {
            if let (Some(key), Some(left)) = (layout::key_in(item), layout::remaining(item, now)?) {
                ttls.insert(key, left);
            }
        }
        Ok(keys.iter().map(|key| ttls.get(*key).copied()).collect())
    }
}
