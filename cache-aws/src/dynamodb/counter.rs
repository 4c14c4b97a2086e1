//! Counters: the text of an integer is stored as a number, and DynamoDB adds to it.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity::Total;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use cache_core::{CacheError, integer};

use super::layout::{EXPIRES, Expiry, Item, KEY, TTL, VALUE};
use super::retry::{Deadline, Effect};
use super::{Table, layout};

/// The condition that there is no item, or an unexpired number that does not overflow.
const COUNTABLE: &str = "attribute_not_exists(#key) OR ((attribute_not_exists(#expires) OR #expires > :now) \
                         AND attribute_type(#value, :number) AND #value BETWEEN :least AND :most)";

/// The condition that the item exists and has expired.
const ENDED: &str = "#expires <= :now";

/// The outcome of an update.
enum Updated {
    /// The new count.
    To(i64),
    /// The condition did not hold for this item; `None` if DynamoDB did not say which.
    Refused(Option<Item>),
}

impl Table {
    /// Adds `delta` to the integer of `key`. A counter without a TTL gets the TTL `millis`.
    pub(super) async fn add(&self, key: &str, delta: i64, millis: Option<u64>) -> Result<i64, CacheError> {
        let deadline = self.writing();
        let adding = Box::pin(async {
            // Repeats only if another process changed the item between the two requests.
            loop {
                let former = match self.add_to_live(key, delta, millis, &deadline).await? {
                    Updated::To(count) => return Ok(count),
                    Updated::Refused(Some(item)) => item,
                    Updated::Refused(None) => match self.item(key, true, None, &deadline).await? {
                        Some(item) => item,
                        None => continue,
                    },
                };
                if let Some((value, _)) = layout::entry(former, self.clock.now())? {
                    integer::add(&value, delta)?;
                    // The value has changed since the update was refused, and can be added to now.
                    continue;
                }
                if let Updated::To(count) = self.start_over(key, delta, millis, &deadline).await? {
                    return Ok(count);
                }
            }
        });
        self.within(deadline, adding).await
    }

    /// Adds to an unexpired counter, or creates one.
    async fn add_to_live(
        &self,
        key: &str,
        delta: i64,
        millis: Option<u64>,
        deadline: &Deadline,
    ) -> Result<Updated, CacheError> {
        let (least, most) = bounds(delta);
        self.send(Effect::WriteOnce, deadline, || async {
            let now = self.clock.now();
            let request = self
                .client
                .update_item()
                .table_name(&self.name)
                .set_key(Some(layout::key_of(key)))
                .condition_expression(COUNTABLE)
                .expression_attribute_names("#key", KEY)
                .expression_attribute_names("#value", VALUE)
                .expression_attribute_names("#expires", EXPIRES)
                .expression_attribute_values(":now", layout::number(now))
                .expression_attribute_values(":delta", layout::number(delta))
                .expression_attribute_values(":least", layout::number(least))
                .expression_attribute_values(":most", layout::number(most))
                .expression_attribute_values(
                    ":number",
                    aws_sdk_dynamodb::types::AttributeValue::S("N".to_owned()),
                )
                .return_values(ReturnValue::UpdatedNew)
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                .return_consumed_capacity(Total);
            let request = match millis.map(|millis| Expiry::after(now, millis)) {
                Some(expiry) => request
                    .update_expression(
                        "SET #expires = if_not_exists(#expires, :expires), #ttl = if_not_exists(#ttl, :ttl) \
                         ADD #value :delta",
                    )
                    .expression_attribute_names("#ttl", TTL)
                    .expression_attribute_values(":expires", expiry.in_millis())
                    .expression_attribute_values(":ttl", expiry.in_seconds()),
                None => request.update_expression("ADD #value :delta"),
            };
            match request.send().await {
                Ok(answer) => {
                    self.cost.write(&answer.consumed_capacity);
                    let attributes = answer.attributes.unwrap_or_default();
                    Ok(Updated::To(layout::integer_in(&attributes)?))
                }
                Err(error) => match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                        Ok(Updated::Refused(refused.item.clone()))
                    }
                    _ => Err(self.translate("dynamodb:UpdateItem", deadline, &error)),
                },
            }
        })
        .await
    }

    /// Replaces an expired item by a new counter.
    async fn start_over(
        &self,
        key: &str,
        delta: i64,
        millis: Option<u64>,
        deadline: &Deadline,
    ) -> Result<Updated, CacheError> {
        self.send(Effect::WriteOnce, deadline, || async {
            let now = self.clock.now();
            let request = self
                .client
                .update_item()
                .table_name(&self.name)
                .set_key(Some(layout::key_of(key)))
                .condition_expression(ENDED)
                .expression_attribute_names("#value", VALUE)
                .expression_attribute_names("#expires", EXPIRES)
                .expression_attribute_names("#ttl", TTL)
                .expression_attribute_values(":now", layout::number(now))
                .expression_attribute_values(":delta", layout::number(delta))
                .return_consumed_capacity(Total);
            let request = match millis.map(|millis| Expiry::after(now, millis)) {
                Some(expiry) => request
                    .update_expression("SET #value = :delta, #expires = :expires, #ttl = :ttl")
                    .expression_attribute_values(":expires", expiry.in_millis())
                    .expression_attribute_values(":ttl", expiry.in_seconds()),
                None => request.update_expression("SET #value = :delta REMOVE #expires, #ttl"),
            };
            match request.send().await {
                Ok(answer) => {
                    self.cost.write(&answer.consumed_capacity);
                    Ok(Updated::To(delta))
                }
                Err(error) if super::contract::is_unmet(crate::error::code(&error)) => {
                    Ok(Updated::Refused(None))
                }
                Err(error) => Err(self.translate("dynamodb:UpdateItem", deadline, &error)),
            }
        })
        .await
    }
}

/// The least and the greatest number to which `delta` can be added within `i64`.
const fn bounds(delta: i64) -> (i64, i64) {
    if delta >= 0 {
        (i64::MIN, i64::MAX - delta)
    } else {
        (i64::MIN - delta, i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counter_bounds_allow_the_sum(number: i64, delta: i64) {
            let (least, most) = bounds(delta);
            prop_assert_eq!((least..=most).contains(&number), number.checked_add(delta).is_some());
        }

        /// DynamoDB returns the number as the text that was stored.
        #[test]
        fn integer_is_the_text_of_its_number(text in "-?[0-9]{0,20}") {
            if let Some(number) = integer::parse(text.as_bytes()) {
                prop_assert_eq!(number.to_string(), text);
            }
        }
    }
}
