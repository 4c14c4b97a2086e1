//! Implements the `CacheClient` contract with server commands.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{CacheClient, CacheError, Entry, InvalidationSource, Lookup, Ttl, check_key};
use redis::{Cmd, Value};

use crate::RedisCache;
use crate::batch::{Item, all_or_first_error, send_each};
use crate::calls::{Call, Effect};
use crate::reply::{into_count, into_int, into_ttl, into_value};
use crate::script::{
    COMPARE_AND_DELETE, COMPARE_AND_SET, GET_AND_DELETE, GET_AND_EXPIRE, INCREMENT_WITH_TTL, PERSIST,
};

/// The largest value, in bytes: the server's default limit (`proto-max-bulk-len`), 512 MiB.
pub const MAX_VALUE_LEN: usize = 512 * 1024 * 1024;

/// The most keys in one command. A longer list becomes several commands, so that no single command blocks the
/// server for long.
const KEYS_PER_COMMAND: usize = 256;

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheClient for RedisCache {
    async fn get(&self, key: &str) -> Result<Bytes, CacheError> {
        check_key(key)?;
        let call = self.calls.begin(Effect::Read)?;
        into_value(call.send("GET", key, &get(key)).await?)?.ok_or(CacheError::Miss)
    }

    async fn get_entry(&self, key: &str) -> Result<Entry, CacheError> {
        check_key(key)?;
        let call = self.calls.begin(Effect::Read)?;
        // Sent at once. Another client may write between the two commands; the TTL then belongs to the newer
        // value.
        let make = |index| if index == 0 { get(key) } else { pttl(key) };
        let replies = send_each(&call, "GET", &items(2, |_| key), make).await;
        let mut replies = all_or_first_error(&call, replies)?.into_iter();
        let value = into_value(replies.next().unwrap_or(Value::Nil))?.ok_or(CacheError::Miss)?;
        let remaining = into_ttl(replies.next().unwrap_or(Value::Nil))?;
        Ok(Entry::untracked(value, remaining))
    }

    async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        check_keys(keys)?;
        let call = self.calls.begin(Effect::Read)?;
        // Not MGET, which returns nil for a key that holds something other than bytes.
        let key = |index: usize| keys[index];
        let replies = send_each(&call, "GET", &items(keys.len(), key), |index| get(key(index))).await;
        all_or_first_error(&call, replies)?
            .into_iter()
            .map(into_value)
            .collect()
    }

    async fn get_each<'a>(&self, keys: &[&'a str]) -> Vec<Result<Bytes, CacheError>> {
        let mut results = checked_keys(keys, Bytes::new);
        let (call, valid) = match self.begin_each(&results) {
            Ok(begun) => begun,
            Err(error) => return closed(results, &error),
        };
        let key = |at: usize| keys[valid[at]];
        let replies = send_each(&call, "GET", &items(valid.len(), key), |at| get(key(at))).await;
        for (&index, reply) in valid.iter().zip(replies) {
            results[index] = reply
                .and_then(into_value)
                .and_then(|value| value.ok_or(CacheError::Miss));
        }
        results
    }

    async fn get_entries<'a>(&self, keys: &[&'a str]) -> Vec<Result<Lookup, CacheError>> {
        let mut results = checked_keys(keys, Lookup::untracked_absence);
        let (call, valid) = match self.begin_each(&results) {
            Ok(begun) => begun,
            Err(error) => return closed(results, &error),
        };
        // Two commands per key, see `get_entry`.
        let key = |at: usize| keys[valid[at / 2]];
        let make = |at: usize| {
            if at.is_multiple_of(2) {
                get(key(at))
            } else {
                pttl(key(at))
            }
        };
        let replies = send_each(&call, "GET", &items(2 * valid.len(), key), make).await;
        let mut replies = replies.into_iter();
        for &index in &valid {
            if let (Some(value), Some(ttl)) = (replies.next(), replies.next()) {
                results[index] = lookup(value, ttl);
            }
        }
        results
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<(), CacheError> {
        check_key(key)?;
        check_value(&value)?;
        let command = set(key, &value, ttl.as_millis()?);
        let call = self.calls.begin(Effect::Write)?;
        call.send("SET", key, &command).await.map(drop)
    }

    async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError> {
        for (key, value) in entries {
            check_key(key)?;
            check_value(value)?;
        }
        let millis = ttl.as_millis()?;
        let call = self.calls.begin(Effect::Write)?;
        // Pipelines may overtake each other, so only the last value of a key is sent.
        let last: HashMap<&str, &Bytes> = entries.iter().map(|(key, value)| (*key, value)).collect();
        let last: Vec<(&str, &Bytes)> = last.into_iter().collect();
        let item = |(key, value): &(&'a str, &Bytes)| Item {
            key,
            bytes: key.len() + value.len(),
        };
        let items: Vec<_> = last.iter().map(item).collect();
        let make = |index: usize| set(last[index].0, last[index].1, millis);
        let replies = send_each(&call, "SET", &items, make).await;
        all_or_first_error(&call, replies).map(drop)
    }

    async fn set_each<'a>(&self, entries: &[(&'a str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>> {
        let checked = |(key, value, ttl): &(&'a str, Bytes, Ttl)| {
            check_key(key)?;
            check_value(value)?;
            ttl.as_millis()
        };
        let millis: Vec<_> = entries.iter().map(checked).collect();
        let mut results: Vec<Result<(), CacheError>> = millis
            .iter()
            .map(|millis| millis.as_ref().map(drop).map_err(CacheError::clone))
            .collect();
        let call = match self.calls.begin(Effect::Write) {
            Ok(call) => call,
            Err(error) => return closed(results, &error),
        };
        // As in `set_many`: only the last entry of a key is sent, and its result counts for all of them.
        let mut last = HashMap::new();
        let mut sent = Vec::new();
        for (index, (key, ..)) in entries.iter().enumerate().rev() {
            if results[index].is_ok() {
                last.entry(*key).or_insert_with(|| {
                    sent.push(index);
                    sent.len() - 1
                });
            }
        }
        let item = |&index: &usize| {
            let (key, value, _) = &entries[index];
            Item {
                key,
                bytes: key.len() + value.len(),
            }
        };
        let items: Vec<_> = sent.iter().map(item).collect();
        let make = |at: usize| {
            let index = sent[at];
            let (key, value, _) = &entries[index];
            set(key, value, millis[index].as_ref().copied().unwrap_or(None))
        };
        let replies = send_each(&call, "SET", &items, make).await;
        for (result, (key, ..)) in results.iter_mut().zip(entries) {
            if let (Ok(()), Some(&at)) = (&result, last.get(key)) {
                *result = replies[at].as_ref().map(drop).map_err(CacheError::clone);
            }
        }
        results
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<bool, CacheError> {
        check_key(key)?;
        check_value(&value)?;
        let mut command = set(key, &value, ttl.as_millis()?);
        command.arg("NX");
        let call = self.calls.begin(Effect::Write)?;
        Ok(call.send("SET", key, &command).await? != Value::Nil)
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: &[u8],
        value: Bytes,
        ttl: Ttl,
    ) -> Result<bool, CacheError> {
        check_key(key)?;
        check_value(&value)?;
        let millis = ttl.as_millis()?.unwrap_or(0).to_string();
        let call = self.calls.begin(Effect::Write)?;
        let arguments = [expected, &value, millis.as_bytes()];
        Ok(into_int(call.run(&COMPARE_AND_SET, key, &arguments).await?)? == 1)
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError> {
        check_key(key)?;
        let call = self.calls.begin(Effect::Write)?;
        Ok(into_int(call.run(&COMPARE_AND_DELETE, key, &[expected]).await?)? == 1)
    }

    async fn get_and_delete(&self, key: &str) -> Result<Bytes, CacheError> {
        check_key(key)?;
        let call = self.calls.begin(Effect::Write)?;
        into_value(call.run(&GET_AND_DELETE, key, &[]).await?)?.ok_or(CacheError::Miss)
    }

    async fn get_and_expire(&self, key: &str, ttl: Ttl) -> Result<Bytes, CacheError> {
        check_key(key)?;
        let millis = ttl.as_millis()?.unwrap_or(0).to_string();
        let call = self.calls.begin(Effect::Write)?;
        let reply = call.run(&GET_AND_EXPIRE, key, &[millis.as_bytes()]).await?;
        into_value(reply)?.ok_or(CacheError::Miss)
    }

    async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        check_keys(keys)?;
        // UNLINK is DEL that frees memory in the background. Every supported version has it.
        count(&self.calls.begin(Effect::Write)?, "UNLINK", keys).await
    }

    async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        check_keys(keys)?;
        count(&self.calls.begin(Effect::Read)?, "EXISTS", keys).await
    }

    async fn incr(&self, key: &str) -> Result<i64, CacheError> {
        check_key(key)?;
        let call = self.calls.begin(Effect::Write)?;
        let mut command = redis::cmd("INCR");
        command.arg(key);
        into_int(call.send("INCR", key, &command).await?)
    }

    async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError> {
        check_key(key)?;
        let millis = ttl.as_millis()?;
        let call = self.calls.begin(Effect::Write)?;
        let Some(millis) = millis else {
            let mut command = redis::cmd("INCRBY");
            command.arg(key).arg(delta);
            return into_int(call.send("INCRBY", key, &command).await?);
        };
        let (delta, millis) = (delta.to_string(), millis.to_string());
        let arguments = [delta.as_bytes(), millis.as_bytes()];
        into_int(call.run(&INCREMENT_WITH_TTL, key, &arguments).await?)
    }

    async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError> {
        check_key(key)?;
        let millis = ttl.as_millis()?;
        let call = self.calls.begin(Effect::Write)?;
        let reply = match millis {
            Some(millis) => {
                let mut command = redis::cmd("PEXPIRE");
                command.arg(key).arg(millis);
                call.send("PEXPIRE", key, &command).await?
            }
            None => call.run(&PERSIST, key, &[]).await?,
        };
        Ok(into_int(reply)? == 1)
    }

    async fn ttl(&self, key: &str) -> Result<Ttl, CacheError> {
        check_key(key)?;
        let call = self.calls.begin(Effect::Read)?;
        into_ttl(call.send("PTTL", key, &pttl(key)).await?)
    }

    /// `None`, because the connection and its pushes belong to the service.
    fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>> {
        None
    }

    async fn ping(&self) -> Result<(), CacheError> {
        self.calls.begin(Effect::Read)?.ping().await
    }

    /// Ends the calls of this client. The connection or pool stays open, because it belongs to the service.
    async fn close(&self) -> Result<(), CacheError> {
        self.calls.close();
        Ok(())
    }
}

impl RedisCache {
    /// Begins a call for the valid items, and returns their positions.
    fn begin_each<T>(&self, results: &[Result<T, CacheError>]) -> Result<(Call<'_>, Vec<usize>), CacheError> {
        let call = self.calls.begin(Effect::Read)?;
        let valid = (0..results.len())
            .filter(|&index| results[index].is_ok())
            .collect();
        Ok((call, valid))
    }
}

/// Sends `name` with all `keys`, and returns the sum of the counts.
async fn count(call: &Call<'_>, name: &'static str, keys: &[&str]) -> Result<u64, CacheError> {
    if keys.is_empty() {
        return Ok(0);
    }
    let together = if call.is_cluster() { 1 } else { KEYS_PER_COMMAND };
    let commands: Vec<&[&str]> = keys.chunks(together).collect();
    let item = |keys: &&[&'_ str]| keys.iter().map(|key| key.len()).sum();
    let items: Vec<_> = commands
        .iter()
        .map(|keys| Item {
            key: keys[0],
            bytes: item(keys),
        })
        .collect();
    let make = |index: usize| {
        let mut command = redis::cmd(name);
        command.arg(commands[index]);
        command
    };
    let replies = send_each(call, name, &items, make).await;
    all_or_first_error(call, replies)?
        .into_iter()
        .map(into_count)
        .sum()
}

/// A placeholder for each valid key, and an error for each invalid one.
fn checked_keys<T>(keys: &[&str], empty: impl Fn() -> T) -> Vec<Result<T, CacheError>> {
    keys.iter().map(|key| check_key(key).map(|()| empty())).collect()
}

/// The items of `count` commands without a value, each for one key.
fn items<'k>(count: usize, key: impl Fn(usize) -> &'k str) -> Vec<Item<'k>> {
    (0..count)
        .map(|at| Item {
            key: key(at),
            bytes: key(at).len(),
        })
        .collect()
}

/// The results of a batch if the client is closed. An invalid entry keeps its own error.
fn closed<T>(results: Vec<Result<T, CacheError>>, error: &CacheError) -> Vec<Result<T, CacheError>> {
    let end = |result: Result<T, CacheError>| result.and_then(|_| Err(error.clone()));
    results.into_iter().map(end).collect()
}

fn get(key: &str) -> Cmd {
    let mut command = redis::cmd("GET");
    command.arg(key);
    command
}

fn pttl(key: &str) -> Cmd {
    let mut command = redis::cmd("PTTL");
    command.arg(key);
    command
}

fn set(key: &str, value: &[u8], millis: Option<u64>) -> Cmd {
    let mut command = Cmd::with_capacity(6, key.len() + value.len() + 40);
    command.arg("SET").arg(key).arg(value);
    if let Some(millis) = millis {
        command.arg("PX").arg(millis);
    }
    command
}

fn check_keys(keys: &[&str]) -> Result<(), CacheError> {
    keys.iter().try_for_each(|key| check_key(key))
}

fn check_value(value: &Bytes) -> Result<(), CacheError> {
    if value.len() <= MAX_VALUE_LEN {
        return Ok(());
    }
    Err(CacheError::InvalidInput {
        argument: "value",
        reason: format!(
            "{} bytes long; a server takes at most {MAX_VALUE_LEN}",
            value.len()
        )
        .into(),
    })
}

/// The result for one key, by its replies to `GET` and `PTTL`.
fn lookup(value: Result<Value, CacheError>, ttl: Result<Value, CacheError>) -> Result<Lookup, CacheError> {
    let Some(value) = into_value(value?)? else {
        return Ok(Lookup::untracked_absence());
    };
    match into_ttl(ttl?) {
        Ok(remaining) => Ok(Lookup::Found(Entry::untracked(value, remaining))),
        // It expired between the two.
        Err(CacheError::Miss) => Ok(Lookup::untracked_absence()),
        Err(error) => Err(error),
    }
}
