//! The commands of single keys: `get`, `set`, `del`, `exists`, `incr`, `expire`, `ttl`.

use std::ffi::OsString;

use cache_admin::jobs::AuditAction;
use cache_core::{Bytes, CacheClient, CacheError, Ttl};
use cache_stack::Stack;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use super::{Ended, cache_for_audit, engine};
use crate::audit;
use crate::escape;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::output::Output;

const NO_SUCH_KEY: &str = "no such key";

pub(super) async fn get(cache: &dyn CacheClient, key: &str, output: &mut Output) -> Ended {
    let entry = match cache.get_entry(key).await {
        Ok(entry) => entry,
        Err(CacheError::Miss) => {
            let text = "miss: there is no value under this key";
            return not_found(text, || json!({ "key": key, "found": false }), output);
        }
        Err(error) => return Err(error.into()),
    };
    if output.is_json() {
        let mut value = json!({ "key": key, "found": true, "ttl_ms": millis(entry.remaining)? });
        escape::put_value(&mut value, "value", &entry.value);
        output.json(&value)?;
    } else {
        output.raw(&entry.value)?;
        // A prompt that begins in the middle of a line helps nobody; a pipe gets what is stored.
        if output.is_terminal() && !entry.value.ends_with(b"\n") {
            output.line("")?;
        }
    }
    Ok(Exit::Ok)
}

pub(super) async fn set(
    cache: &dyn CacheClient,
    key: &str,
    value: OsString,
    ttl: Ttl,
    only_if_absent: bool,
    output: &mut Output,
) -> Ended {
    let value = read_value(value).await?;
    let stored = if only_if_absent {
        cache.set_if_absent(key, value, ttl).await?
    } else {
        cache.set(key, value, ttl).await?;
        true
    };
    let text = if stored {
        "stored"
    } else {
        "not stored: the key holds a value"
    };
    output.answer(text, || json!({ "key": key, "stored": stored }))?;
    Ok(Exit::of(stored))
}

async fn read_value(value: OsString) -> Result<Bytes, Failure> {
    if value != "-" {
        return Ok(value.into_encoded_bytes().into());
    }
    let mut bytes = Vec::new();
    match tokio::io::stdin().read_to_end(&mut bytes).await {
        Ok(_) => Ok(bytes.into()),
        Err(error) => Err(Failure::Usage(format!(
            "cannot read the value from standard input: {error}"
        ))),
    }
}

pub(super) async fn del(stack: &Stack, keys: &[String], output: &mut Output) -> Ended {
    let mut record = audit::record(AuditAction::KeyDelete);
    record = match keys {
        [key] => record.on("key", key),
        keys => record.on_each("keys", keys),
    };
    if let Some(cache) = cache_for_audit(&engine(stack)?).await {
        record = record.on("cache", cache);
    }
    audit::begun(&record).await?;
    let ended = stack.client.del(&borrowed(keys)).await;
    audit::ended_as(
        record,
        &ended,
        |record, removed| record.number("removed", *removed),
        output,
    )
    .await;
    removed(ended?, keys.len(), output)
}

/// How many of the keys were there to be removed.
pub(crate) fn removed(removed: u64, keys: usize, output: &mut Output) -> Ended {
    let text = format!("{} removed", human::keys(removed));
    output.answer(&text, || json!({ "removed": removed, "keys": keys }))?;
    Ok(Exit::of(removed > 0))
}

pub(super) async fn exists(cache: &dyn CacheClient, keys: &[String], output: &mut Output) -> Ended {
    let found = cache.exists(&borrowed(keys)).await?;
    let asked = u64::try_from(keys.len()).unwrap_or(u64::MAX);
    let text = match (found, asked) {
        (0, 1) => "no".to_owned(),
        (1, 1) => "yes".to_owned(),
        _ => format!("{} of {}", human::number(found), human::number(asked)),
    };
    output.answer(&text, || json!({ "existing": found, "keys": asked }))?;
    Ok(Exit::of(found == asked))
}

pub(super) async fn incr(
    cache: &dyn CacheClient,
    key: &str,
    by: i64,
    ttl: Ttl,
    output: &mut Output,
) -> Ended {
    let value = cache.incr_by(key, by, ttl).await?;
    output.answer(&value.to_string(), || json!({ "key": key, "value": value }))?;
    Ok(Exit::Ok)
}

pub(super) async fn expire(cache: &dyn CacheClient, key: &str, ttl: Ttl, output: &mut Output) -> Ended {
    if !cache.expire(key, ttl).await? {
        return not_found(NO_SUCH_KEY, || json!({ "key": key, "found": false }), output);
    }
    let millis = millis(ttl)?;
    let text = if ttl.is_forever() {
        "never expires".to_owned()
    } else {
        format!("expires in {ttl}")
    };
    output.answer(&text, || json!({ "key": key, "found": true, "ttl_ms": millis }))?;
    Ok(Exit::Ok)
}

pub(super) async fn ttl(cache: &dyn CacheClient, key: &str, output: &mut Output) -> Ended {
    let left = match cache.ttl(key).await {
        Ok(left) => left,
        Err(CacheError::Miss) => {
            return not_found(NO_SUCH_KEY, || json!({ "key": key, "found": false }), output);
        }
        Err(error) => return Err(error.into()),
    };
    let millis = millis(left)?;
    output.answer(
        &left.to_string(),
        || json!({ "key": key, "found": true, "ttl_ms": millis }),
    )?;
    Ok(Exit::Ok)
}

/// That something is not there is an answer: with `--json` on standard output, else a note, so that what
/// reads standard output does not take it for a value.
fn not_found(text: &str, value: impl FnOnce() -> Value, output: &mut Output) -> Ended {
    if output.is_json() {
        output.json(&value())?;
    } else {
        output.note(text);
    }
    Ok(Exit::False)
}

fn millis(ttl: Ttl) -> Result<Option<u64>, CacheError> {
    ttl.as_millis()
}

fn borrowed(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}
