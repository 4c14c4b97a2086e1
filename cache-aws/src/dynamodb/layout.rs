//! Converts entries to items of the table, and back.
//!
//! Not in here: requests, and the table itself (`table.rs`).

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use cache_core::{CacheError, Ttl, check_key, integer};

/// The partition key: the entry's key, a string.
pub(super) const KEY: &str = "key";
/// The value: a number if it is an integer's text, else binary.
pub(super) const VALUE: &str = "value";
/// The expiry, in milliseconds since 1970. Readers use it.
pub(super) const EXPIRES: &str = "expires_ms";
/// The expiry in seconds, rounded up. DynamoDB deletes by it.
pub(super) const TTL: &str = "ttl";

/// The longest partition key that DynamoDB accepts, in bytes.
pub(super) const MAX_KEY_LEN: usize = 2_048;

/// DynamoDB's limit for an item, less the longest key, the names of the attributes, and the two expiries.
pub(super) const MAX_VALUE_LEN: usize = 400 * 1_024 - MAX_KEY_LEN - 128;

/// An item, or an item's key.
pub(super) type Item = HashMap<String, AttributeValue>;

/// Checks that DynamoDB accepts `key`.
pub(super) fn check(key: &str) -> Result<(), CacheError> {
    check_key(key)?;
    if key.len() > MAX_KEY_LEN {
        return Err(CacheError::InvalidInput {
            argument: "key",
            reason: format!(
                "{} bytes long; DynamoDB takes at most {MAX_KEY_LEN}, the key prefix included",
                key.len()
            )
            .into(),
        });
    }
    Ok(())
}

/// Checks that `value` fits into an item.
pub(super) fn check_value(value: &[u8]) -> Result<(), CacheError> {
    if value.len() > MAX_VALUE_LEN {
        return Err(CacheError::InvalidInput {
            argument: "value",
            reason: format!(
                "{} bytes long; DynamoDB takes items of 400 KB, which leaves {MAX_VALUE_LEN} for the value",
                value.len()
            )
            .into(),
        });
    }
    Ok(())
}

/// The expiry of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expiry {
    millis: u64,
}

impl Expiry {
    /// The expiry of a TTL of `millis` that begins at `now`.
    pub(super) const fn after(now: u64, millis: u64) -> Self {
        Self {
            millis: now.saturating_add(millis),
        }
    }

    /// For readers.
    pub(super) fn in_millis(self) -> AttributeValue {
        number(self.millis)
    }

    /// For DynamoDB's own deletion: never before the entry expires.
    pub(super) fn in_seconds(self) -> AttributeValue {
        number(self.millis.div_ceil(1_000))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "numbers are copied")]
pub(super) fn number(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// The key of the item of `key`.
pub(super) fn key_of(key: &str) -> Item {
    HashMap::from([(KEY.to_owned(), AttributeValue::S(key.to_owned()))])
}

/// The value as an attribute.
///
/// The text of an integer becomes a number. It comes back as the same text, and DynamoDB can add to it.
pub(super) fn attribute(value: &[u8]) -> AttributeValue {
    match integer::parse(value) {
        Some(integer) => number(integer),
        None => AttributeValue::B(Blob::new(value)),
    }
}

/// An entry as an item.
pub(super) fn item(key: &str, value: &[u8], expiry: Option<Expiry>) -> Item {
    let mut item = key_of(key);
    item.insert(VALUE.to_owned(), attribute(value));
    if let Some(expiry) = expiry {
        item.insert(EXPIRES.to_owned(), expiry.in_millis());
        item.insert(TTL.to_owned(), expiry.in_seconds());
    }
    item
}

/// The entry in an item, unless it has expired at `now`.
pub(super) fn entry(mut item: Item, now: u64) -> Result<Option<(Bytes, Ttl)>, CacheError> {
    let Some(remaining) = remaining(&item, now)? else {
        return Ok(None);
    };
    Ok(Some((value(&mut item)?, remaining)))
}

/// Takes the value out of an item.
pub(super) fn value(item: &mut Item) -> Result<Bytes, CacheError> {
    match item.remove(VALUE) {
        Some(AttributeValue::B(blob)) => Ok(Bytes::from(blob.into_inner())),
        Some(AttributeValue::N(text)) => Ok(Bytes::from(text)),
        _ => Err(CacheError::Rejected {
            code: "WRONGTYPE".into(),
            detail: "the item's attribute `value` is neither binary nor a number: another program wrote it"
                .into(),
        }),
    }
}

/// The remaining TTL of an item at `now`; `None` if it has expired.
pub(super) fn remaining(item: &Item, now: u64) -> Result<Option<Ttl>, CacheError> {
    let Some(attribute) = item.get(EXPIRES) else {
        return Ok(Some(Ttl::Forever));
    };
    let expires = attribute.as_n().ok().and_then(|text| text.parse::<u64>().ok());
    let Some(expires) = expires else {
        return Err(CacheError::Corrupt {
            detail:
                "the item's attribute `expires_ms` is no number of milliseconds: another program wrote it"
                    .into(),
            source: None,
        });
    };
    Ok((expires > now).then(|| Ttl::After(Duration::from_millis(expires - now))))
}

/// The key of an item.
pub(super) fn key_in(item: &Item) -> Option<&str> {
    item.get(KEY)?.as_s().ok().map(String::as_str)
}

/// The integer in an item's value.
pub(super) fn integer_in(item: &Item) -> Result<i64, CacheError> {
    let text: Option<Cow<'_, str>> = item
        .get(VALUE)
        .and_then(|value| value.as_n().ok())
        .map(|text| text.as_str().into());
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| CacheError::Corrupt {
            detail: "DynamoDB answered an update of a counter without the count".into(),
            source: None,
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dynamodb_never_deletes_before_the_entry_ends() {
        for (now, millis, expected) in [
            (0, 1, 1),
            (0, 1_000, 1),
            (999, 2, 2),
            (1_500, 500, 2),
            (1_500, 501, 3),
        ] {
            let expiry = Expiry::after(now, millis);
            assert_eq!(expiry.in_seconds(), number(expected), "{now} and {millis}");
        }
    }

    #[test]
    fn entry_ends_on_its_millisecond() {
        let item = || item("k", b"v", Some(Expiry::after(1_000, 5)));
        let left = |now| remaining(&item(), now).unwrap();
        assert_eq!(left(1_000), Some(Ttl::millis(5)));
        assert_eq!(left(1_004), Some(Ttl::millis(1)));
        assert_eq!(left(1_005), None);
        assert_eq!(entry(item(), 1_005).unwrap(), None);
    }

    #[test]
    fn foreign_item_is_refused_and_not_shown() {
        let mut foreign = key_of("k");
        foreign.insert(VALUE.to_owned(), AttributeValue::S("s3cr3t".to_owned()));
        let error = entry(foreign.clone(), 0).unwrap_err();
        assert!(matches!(error, CacheError::Rejected { .. }), "{error}");
        assert!(!format!("{error:?}").contains("s3cr3t"));
        foreign.insert(EXPIRES.to_owned(), AttributeValue::S("soon".to_owned()));
        assert!(matches!(entry(foreign, 0), Err(CacheError::Corrupt { .. })));
    }

    #[test]
    fn key_and_value_limits_are_exact() {
        assert!(check(&"k".repeat(MAX_KEY_LEN)).is_ok());
        assert!(check(&"k".repeat(MAX_KEY_LEN + 1)).is_err());
        assert!(check("").is_err());
        assert!(check_value(&vec![0; MAX_VALUE_LEN]).is_ok());
        assert!(check_value(&vec![0; MAX_VALUE_LEN + 1]).is_err());
    }

    proptest! {
        #[test]
        fn value_round_trips(value: Vec<u8>) {
            let (read, _) = entry(item("k", &value, None), 0).unwrap().unwrap();
            prop_assert_eq!(&read[..], &value[..]);
        }

        #[test]
        fn integer_round_trips(number: i64) {
            let text = number.to_string();
            let stored = item("k", text.as_bytes(), None);
            prop_assert!(stored[VALUE].is_n());
            let (read, _) = entry(stored, 0).unwrap().unwrap();
            prop_assert_eq!(&read[..], text.as_bytes());
        }
    }
}
