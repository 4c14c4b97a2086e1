//! Implements the contract over single items. Not in here: calls with many keys (`batch.rs`), counters
//! (`counter.rs`), reads that write in the same request (`combined.rs`).

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity::Total;
use bytes::Bytes;
use cache_core::{CacheClient, CacheError, Entry, InvalidationSource, Lookup, Ttl};

use super::layout::{EXPIRES, Expiry, Item, KEY, TTL, VALUE};
use super::options::Consistency;
use super::retry::{Deadline, Effect};
use super::{DynamoClient, Table, layout};
use crate::error;

/// The condition that an item exists and has not expired.
pub(super) const LIVE: &str =
    "attribute_exists(#key) AND (attribute_not_exists(#expires) OR #expires > :now)";
/// The condition that there is no item, or that it has expired.
const ABSENT: &str = "attribute_not_exists(#key) OR #expires <= :now";
/// The condition that an item exists, has not expired, and has this value.
const EQUAL: &str = "#value = :expected AND (attribute_not_exists(#expires) OR #expires > :now)";

/// A key that most likely has no entry; reading it costs half of a read unit.
const PING: &str = "cache:ping";

impl Table {
    pub(super) fn reading(&self) -> Deadline {
        Deadline::after(self.options.read_timeout)
    }

    pub(super) fn writing(&self) -> Deadline {
        Deadline::after(self.options.write_timeout)
    }

    /// Whether reads of values are strongly consistent.
    pub(super) fn is_consistent(&self) -> bool {
        self.options.consistency == Consistency::Strong
    }

    /// The expiry of an entry whose TTL begins now.
    pub(super) fn expiry(&self, ttl: Ttl) -> Result<Option<Expiry>, CacheError> {
        let millis = ttl.as_millis()?;
        Ok(millis.map(|millis| Expiry::after(self.clock.now(), millis)))
    }

    /// The item of `key`, with all of its attributes or those of `only`.
    pub(super) async fn item(
        &self,
        key: &str,
        consistent: bool,
        only: Option<&str>,
        deadline: &Deadline,
    ) -> Result<Option<Item>, CacheError> {
        self.send(Effect::Read, deadline, || async {
            let mut request = self
                .client
                .get_item()
                .table_name(&self.name)
                .set_key(Some(layout::key_of(key)))
                .consistent_read(consistent)
                .return_consumed_capacity(Total);
            if let Some(only) = only {
                request = request
                    .projection_expression(only)
                    .expression_attribute_names("#key", KEY)
                    .expression_attribute_names("#expires", EXPIRES);
            }
            match request.send().await {
                Ok(answer) => {
                    self.cost.read(&answer.consumed_capacity);
                    Ok(answer.item)
                }
                Err(error) => Err(self.translate("dynamodb:GetItem", deadline, &error)),
            }
        })
        .await
    }

    /// The value of `key` and its remaining TTL.
    async fn entry(&self, key: &str) -> Result<(Bytes, Ttl), CacheError> {
        let deadline = self.reading();
        self.within(deadline, async {
            let item = self.item(key, self.is_consistent(), None, &deadline).await?;
            let Some(item) = item else {
                return Err(CacheError::Miss);
            };
            layout::entry(item, self.clock.now())?.ok_or(CacheError::Miss)
        })
        .await
    }

    /// Stores an item if `condition` holds. Returns whether it did.
    async fn put(
        &self,
        key: &str,
        value: &Bytes,
        expiry: Option<Expiry>,
        condition: Option<Condition<'_>>,
    ) -> Result<bool, CacheError> {
        let deadline = self.writing();
        let effect = if condition.is_some() {
            Effect::WriteOnce
        } else {
            Effect::Write
        };
        let put = self.send(effect, &deadline, || async {
            let mut request = self
                .client
                .put_item()
                .table_name(&self.name)
                .set_item(Some(layout::item(key, value, expiry)))
                .return_consumed_capacity(Total);
            if let Some(condition) = condition {
                request = request
                    .condition_expression(condition.expression())
                    .expression_attribute_names("#expires", EXPIRES)
                    .expression_attribute_values(":now", layout::number(self.clock.now()));
                request = match condition {
                    Condition::Absent => request.expression_attribute_names("#key", KEY),
                    Condition::Equal(expected) => request
                        .expression_attribute_names("#value", VALUE)
                        .expression_attribute_values(":expected", layout::attribute(expected)),
                };
            }
            match request.send().await {
                Ok(answer) => {
                    self.cost.write(&answer.consumed_capacity);
                    Ok(true)
                }
                Err(error) if is_unmet(error::code(&error)) => Ok(false),
                Err(error) => Err(self.translate("dynamodb:PutItem", &deadline, &error)),
            }
        });
        self.within(deadline, put).await
    }

    /// Deletes an item if it has not expired, and equals `expected` if that is given. Returns whether it did.
    pub(super) async fn delete(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        deadline: &Deadline,
    ) -> Result<bool, CacheError> {
        let effect = match expected {
            Some(_) => Effect::WriteOnce,
            None => Effect::Write,
        };
        self.send(effect, deadline, || async {
            let request = self
                .client
                .delete_item()
                .table_name(&self.name)
                .set_key(Some(layout::key_of(key)))
                .expression_attribute_names("#expires", EXPIRES)
                .expression_attribute_values(":now", layout::number(self.clock.now()))
                .return_consumed_capacity(Total);
            let request = match expected {
                Some(expected) => request
                    .condition_expression(EQUAL)
                    .expression_attribute_names("#value", VALUE)
                    .expression_attribute_values(":expected", layout::attribute(expected)),
                None => request
                    .condition_expression(LIVE)
                    .expression_attribute_names("#key", KEY),
            };
            match request.send().await {
                Ok(answer) => {
                    self.cost.write(&answer.consumed_capacity);
                    Ok(true)
                }
                Err(error) if is_unmet(error::code(&error)) => Ok(false),
                Err(error) => Err(self.translate("dynamodb:DeleteItem", deadline, &error)),
            }
        })
        .await
    }

    /// Sets the expiry of an unexpired item. Returns whether there was one.
    async fn set_expiry(
        &self,
        key: &str,
        expiry: Option<Expiry>,
        deadline: &Deadline,
    ) -> Result<bool, CacheError> {
        self.send(Effect::Write, deadline, || async {
            let request = self
                .client
                .update_item()
                .table_name(&self.name)
                .set_key(Some(layout::key_of(key)))
                .condition_expression(LIVE)
                .expression_attribute_names("#key", KEY)
                .expression_attribute_names("#expires", EXPIRES)
                .expression_attribute_names("#ttl", TTL)
                .expression_attribute_values(":now", layout::number(self.clock.now()))
                .return_consumed_capacity(Total);
            let request = match expiry {
                Some(expiry) => request
                    .update_expression("SET #expires = :expires, #ttl = :ttl")
                    .expression_attribute_values(":expires", expiry.in_millis())
                    .expression_attribute_values(":ttl", expiry.in_seconds()),
                None => request.update_expression("REMOVE #expires, #ttl"),
            };
            match request.send().await {
                Ok(answer) => {
                    self.cost.write(&answer.consumed_capacity);
                    Ok(true)
                }
                Err(error) if is_unmet(error::code(&error)) => Ok(false),
                Err(error) => Err(self.translate("dynamodb:UpdateItem", deadline, &error)),
            }
        })
        .await
    }
}

/// The condition of a write.
#[derive(Clone, Copy, Debug)]
enum Condition<'a> {
    Absent,
    Equal(&'a [u8]),
}

impl Condition<'_> {
    const fn expression(self) -> &'static str {
        match self {
            Self::Absent => ABSENT,
            Self::Equal(_) => EQUAL,
        }
    }
}

/// Whether a write was refused because its condition did not hold.
pub(super) fn is_unmet(code: Option<&str>) -> bool {
    code == Some("ConditionalCheckFailedException")
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheClient for DynamoClient {
    async fn get(&self, key: &str) -> Result<Bytes, CacheError> {
        layout::check(key)?;
        Ok(self.table.entry(key).await?.0)
    }

    async fn get_entry(&self, key: &str) -> Result<Entry, CacheError> {
        layout::check(key)?;
        let (value, remaining) = self.table.entry(key).await?;
        Ok(Entry::untracked(value, remaining))
    }

    async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        keys.iter().try_for_each(|key| layout::check(key))?;
        self.table.get_many(keys).await
    }

    async fn get_each<'a>(&self, keys: &[&'a str]) -> Vec<Result<Bytes, CacheError>> {
        let entries = self.table.entry_each(keys).await.into_iter();
        entries.map(|entry| entry.map(|(value, _)| value)).collect()
    }

    async fn get_entries<'a>(&self, keys: &[&'a str]) -> Vec<Result<Lookup, CacheError>> {
        let entries = self.table.entry_each(keys).await.into_iter();
        entries
            .map(|entry| {
                let entry = entry.map(|(value, remaining)| Entry::untracked(value, remaining));
                Lookup::of_entry(entry)
            })
            .collect()
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<(), CacheError> {
        layout::check(key)?;
        layout::check_value(&value)?;
        let expiry = self.table.expiry(ttl)?;
        self.table.put(key, &value, expiry, None).await?;
        Ok(())
    }

    async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError> {
        for (key, value) in entries {
            layout::check(key)?;
            layout::check_value(value)?;
        }
        let expiry = self.table.expiry(ttl)?;
        self.table.set_many(entries, expiry).await
    }

    async fn set_each<'a>(&self, entries: &[(&'a str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>> {
        self.table.set_each(entries).await
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<bool, CacheError> {
        layout::check(key)?;
        layout::check_value(&value)?;
        let expiry = self.table.expiry(ttl)?;
        self.table.put(key, &value, expiry, Some(Condition::Absent)).await
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: &[u8],
        value: Bytes,
        ttl: Ttl,
    ) -> Result<bool, CacheError> {
        layout::check(key)?;
        layout::check_value(&value)?;
        let expiry = self.table.expiry(ttl)?;
        if layout::check_value(expected).is_err() {
            self.table.check_open()?;
            return Ok(false);
        }
        self.table
            .put(key, &value, expiry, Some(Condition::Equal(expected)))
            .await
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError> {
        layout::check(key)?;
        if layout::check_value(expected).is_err() {
            self.table.check_open()?;
            return Ok(false);
        }
        let deadline = self.table.writing();
        let delete = self.table.delete(key, Some(expected), &deadline);
        self.table.within(deadline, delete).await
    }

    async fn get_and_delete(&self, key: &str) -> Result<Bytes, CacheError> {
        layout::check(key)?;
        let deadline = self.table.writing();
        let taken = self.table.get_and_delete(key, &deadline);
        self.table.within(deadline, Box::pin(taken)).await
    }

    async fn get_and_expire(&self, key: &str, ttl: Ttl) -> Result<Bytes, CacheError> {
        layout::check(key)?;
        let expiry = self.table.expiry(ttl)?;
        let deadline = self.table.writing();
        let read = self.table.get_and_expire(key, expiry, &deadline);
        self.table.within(deadline, Box::pin(read)).await
    }

    async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        keys.iter().try_for_each(|key| layout::check(key))?;
        self.table.del(keys).await
    }

    async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        keys.iter().try_for_each(|key| layout::check(key))?;
        self.table.exists(keys).await
    }

    async fn incr(&self, key: &str) -> Result<i64, CacheError> {
        layout::check(key)?;
        self.table.add(key, 1, None).await
    }

    async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError> {
        layout::check(key)?;
        let millis = ttl.as_millis()?;
        self.table.add(key, delta, millis).await
    }

    async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError> {
        layout::check(key)?;
        let expiry = self.table.expiry(ttl)?;
        let deadline = self.table.writing();
        let set = self.table.set_expiry(key, expiry, &deadline);
        self.table.within(deadline, Box::pin(set)).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl, CacheError> {
        layout::check(key)?;
        let deadline = self.table.reading();
        let read = async {
            let item = self
                .table
                .item(key, true, Some("#key, #expires"), &deadline)
                .await?;
            let Some(item) = item else {
                return Err(CacheError::Miss);
            };
            layout::remaining(&item, self.table.clock.now())?.ok_or(CacheError::Miss)
        };
        self.table.within(deadline, read).await
    }

    fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>> {
        None
    }

    async fn ping(&self) -> Result<(), CacheError> {
        let deadline = self.table.reading();
        let read = self.table.item(PING, false, Some("#key, #expires"), &deadline);
        self.table.within(deadline, read).await?;
        Ok(())
    }

    async fn close(&self) -> Result<(), CacheError> {
        self.table.closed.send_replace(true);
        Ok(())
    }
}
