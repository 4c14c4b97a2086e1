//! Reads that write in the same request: an entry is returned and deleted, or returned and given a TTL.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity::Total;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use bytes::Bytes;
use cache_core::CacheError;

use super::layout::{EXPIRES, Expiry, Item, KEY, TTL, VALUE};
use super::retry::{Deadline, Effect};
use super::{Table, layout};

/// The condition that an entry exists, has not expired, and is readable by this client. Other items stay as
/// they are.
const READABLE: &str = "attribute_exists(#key) AND (attribute_not_exists(#expires) OR #expires > :now) \
                        AND (attribute_type(#value, :binary) OR attribute_type(#value, :number))";

/// The names in [`READABLE`].
fn names() -> HashMap<String, String> {
    [("#key", KEY), ("#value", VALUE), ("#expires", EXPIRES)]
        .map(|(name, attribute)| (name.to_owned(), attribute.to_owned()))
        .into()
}

/// The values in [`READABLE`].
fn values(now: u64) -> HashMap<String, AttributeValue> {
    [
        (":now", layout::number(now)),
        (":binary", AttributeValue::S("B".to_owned())),
        (":number", AttributeValue::S("N".to_owned())),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

impl Table {
    /// Deletes the item of `key` and returns its value. Never repeated while the outcome of a request is
    /// unknown, because the second one would find nothing.
    pub(super) async fn get_and_delete(&self, key: &str, deadline: &Deadline) -> Result<Bytes, CacheError> {
        self.send(Effect::WriteOnce, deadline, || async {
            let now = self.clock.now();
            let request = self
                .client
                .delete_item()
                .table_name(&self.name)
                .set_key(Some(layout::key_of(key)))
                .condition_expression(READABLE)
                .set_expression_attribute_names(Some(names()))
                .set_expression_attribute_values(Some(values(now)))
                .return_values(ReturnValue::AllOld)
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                .return_consumed_capacity(Total);
            match request.send().await {
                Ok(answer) => {
                    self.cost.write(&answer.consumed_capacity);
                    // Without a previous item nothing was deleted: another request was faster.
                    let former = answer.attributes.filter(|item| !item.is_empty());
                    layout::value(&mut former.ok_or(CacheError::Miss)?)
                }
                Err(error) => match error.as_service_error() {
                    Some(DeleteItemError::ConditionalCheckFailedException(refused)) => {
                        Err(unreadable(refused.item.clone(), now))
                    }
                    _ => Err(self.translate("dynamodb:DeleteItem", deadline, &error)),
                },
            }
        })
        .await
    }

    /// Sets the expiry of the item of `key` and returns its value.
    pub(super) async fn get_and_expire(
        &self,
        key: &str,
        expiry: Option<Expiry>,
        deadline: &Deadline,
    ) -> Result<Bytes, CacheError> {
        self.send(Effect::Write, deadline, || async {
            let now = self.clock.now();
            let request = self
                .client
                .update_item()
                .table_name(&self.name)
                .set_key(Some(layout::key_of(key)))
                .condition_expression(READABLE)
                .set_expression_attribute_names(Some(names()))
                .expression_attribute_names("#ttl", TTL)
                .set_expression_attribute_values(Some(values(now)))
                .return_values(ReturnValue::AllNew)
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
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
                    // Not checked against the clock: with a short TTL the entry may have expired by now, but
                    // it was read.
                    layout::value(&mut answer.attributes.unwrap_or_default())
                }
                Err(error) => match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                        Err(unreadable(refused.item.clone(), now))
                    }
                    _ => Err(self.translate("dynamodb:UpdateItem", deadline, &error)),
                },
            }
        })
        .await
    }
}

/// The error if the condition failed, derived from the item.
fn unreadable(item: Option<Item>, now: u64) -> CacheError {
    match item.map(|item| layout::entry(item, now)) {
        Some(Err(error)) => error,
        _ => CacheError::Miss,
    }
}
