//! Reads replies. Nothing here depends on the features of the `redis` crate.

use bytes::Bytes;
use cache_core::{CacheError, Ttl};
use redis::Value;

use crate::error::unexpected;

/// The bytes, or `None` for nil.
pub(crate) fn into_value(value: Value) -> Result<Option<Bytes>, CacheError> {
    match value {
        Value::BulkString(bytes) => Ok(Some(Bytes::from(bytes))),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(Some(Bytes::from(text))),
        Value::Nil => Ok(None),
        other => Err(unexpected(&other, "bytes")),
    }
}

/// An integer, or the text of one, as a script may return it.
#[expect(
    clippy::needless_pass_by_value,
    reason = "as its siblings, which take the value apart"
)]
pub(crate) fn into_int(value: Value) -> Result<i64, CacheError> {
    let text = match &value {
        Value::Int(number) => return Ok(*number),
        Value::Boolean(truth) => return Ok(i64::from(*truth)),
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text.as_str()),
        _ => None,
    };
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| unexpected(&value, "an integer"))
}

/// A count, which is never negative.
pub(crate) fn into_count(value: Value) -> Result<u64, CacheError> {
    let number = into_int(value)?;
    u64::try_from(number).map_err(|_| unexpected(&Value::Int(number), "a count"))
}

/// Reads a reply to PTTL: -2 means no such key, -1 no expiry.
pub(crate) fn into_ttl(value: Value) -> Result<Ttl, CacheError> {
    match into_int(value)? {
        -2 => Err(CacheError::Miss),
        ..0 => Ok(Ttl::Forever),
        // 0 means less than a millisecond is left, and the key still exists.
        left => Ok(Ttl::millis(left.unsigned_abs().max(1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integer_is_exact_as_number_and_as_text() {
        for number in [i64::MIN, -1, 0, 9_007_199_254_740_993, i64::MAX] {
            assert_eq!(into_int(Value::Int(number)).unwrap(), number);
            let text = number.to_string();
            assert_eq!(
                into_int(Value::BulkString(text.clone().into_bytes())).unwrap(),
                number
            );
            assert_eq!(into_int(Value::SimpleString(text)).unwrap(), number);
        }
        assert!(into_int(Value::BulkString(b"9223372036854775808".to_vec())).is_err());
        assert!(into_int(Value::Nil).is_err());
        assert!(into_count(Value::Int(-1)).is_err());
    }

    #[test]
    fn ttl_reply_is_translated() {
        assert!(matches!(into_ttl(Value::Int(-2)), Err(CacheError::Miss)));
        assert_eq!(into_ttl(Value::Int(-1)).unwrap(), Ttl::Forever);
        assert_eq!(into_ttl(Value::Int(0)).unwrap(), Ttl::millis(1));
        assert_eq!(into_ttl(Value::Int(1_500)).unwrap(), Ttl::millis(1_500));
    }

    #[test]
    fn value_is_bytes_or_nothing() {
        assert_eq!(
            into_value(Value::BulkString(vec![0, 255])).unwrap().unwrap(),
            vec![0, 255]
        );
        assert_eq!(into_value(Value::Nil).unwrap(), None);
        assert!(into_value(Value::Int(1)).is_err());
    }
}
