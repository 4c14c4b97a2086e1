//! Reads and writes with one result per key.

use std::collections::HashMap;

use bytes::Bytes;
use cache_core::{CacheError, Ttl, check_key};

use super::ValkeyClient;
use super::contract::check_value;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::error::accept;

/// The keys of a read with one result per key, checked before anything is sent.
pub(super) struct CheckedKeys<T> {
    /// A result for each key: the error of an invalid one, and a placeholder for a valid one.
    pub(super) results: Vec<Result<T, CacheError>>,
    /// The positions of the valid keys.
    pub(super) valid: Vec<usize>,
    pub(super) deadline: Deadline,
}

impl ValkeyClient {
    /// Checks the keys of a read. `placeholder` is the result of a valid key until there is a reply. `Err` has the
    /// final results if there is nothing to send.
    pub(super) fn check_each<T>(
        &self,
        keys: &[&str],
        placeholder: impl Fn() -> Result<T, CacheError>,
    ) -> Result<CheckedKeys<T>, Vec<Result<T, CacheError>>> {
        let deadline = self.read_deadline().map(Deadline::or_caller_deadline);
        let mut results = Vec::with_capacity(keys.len());
        let mut valid = Vec::with_capacity(keys.len());
        for (position, key) in keys.iter().enumerate() {
            let checked = check_key(key).and_then(|()| deadline.clone());
            if checked.is_ok() {
                valid.push(position);
            }
            results.push(checked.and_then(|_| placeholder()));
        }
        match deadline {
            Ok(deadline) if !valid.is_empty() => Ok(CheckedKeys {
                results,
                valid,
                deadline,
            }),
            _ => Err(results),
        }
    }

    pub(super) async fn read_each(&self, keys: &[&str]) -> Vec<Result<Bytes, CacheError>> {
        let CheckedKeys {
            mut results,
            valid,
            deadline,
        } = match self.check_each(keys, || Err(CacheError::Miss)) {
            Ok(checked) => checked,
            Err(results) => return results,
        };
        // One GET per key instead of MGET, which reports a value of another type as a miss.
        let commands: Vec<_> = valid
            .iter()
            .map(|position| Command::read("GET").key(keys[*position].as_bytes()))
            .collect();
        let replies = self.router.send_each(&commands, deadline).await;
        for ((position, command), reply) in valid.into_iter().zip(&commands).zip(replies) {
            let value = reply
                .and_then(|reply| accept(reply, command.name()))
                .and_then(|reply| reply.into_value());
            results[position] = value.and_then(|value| value.ok_or(CacheError::Miss));
        }
        results
    }

    pub(super) async fn store_each(&self, entries: &[(&str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>> {
        let deadline = self.write_deadline().map(Deadline::or_caller_deadline);
        let check = |key: &str, value: &Bytes, ttl: Ttl| {
            check_key(key)?;
            check_value(value)?;
            let millis = ttl.as_millis()?;
            deadline.clone().map(|_| millis)
        };
        // Only the last entry of a key is sent, because commands that are retried separately have no order.
        let mut last: HashMap<&str, usize> = HashMap::with_capacity(entries.len());
        let mut ttls = Vec::with_capacity(entries.len());
        for (position, (key, value, ttl)) in entries.iter().enumerate() {
            let checked = check(key, value, *ttl);
            if checked.is_ok() {
                last.insert(key, position);
            }
            ttls.push(checked);
        }
        let Ok(deadline) = deadline else {
            return ttls.into_iter().map(|checked| checked.map(drop)).collect();
        };
        let (mut commands, mut command_of) =
            (Vec::with_capacity(last.len()), HashMap::with_capacity(last.len()));
        for (position, ((key, value, _), ttl)) in entries.iter().zip(&ttls).enumerate() {
            if let Ok(ttl) = ttl
                && last.get(key) == Some(&position)
            {
                command_of.insert(*key, commands.len());
                commands.push(Command::write("SET").key(key.as_bytes()).value(value).px(*ttl));
            }
        }
        if commands.is_empty() {
            return ttls.into_iter().map(|checked| checked.map(drop)).collect();
        }
        let replies = self.router.send_each(&commands, deadline).await;
        let stored: Vec<Result<(), CacheError>> = replies
            .into_iter()
            .map(|reply| reply.and_then(|reply| accept(reply, "SET")).map(drop))
            .collect();
        let of = |key: &str| command_of.get(key).and_then(|command| stored.get(*command));
        let results = entries.iter().zip(ttls);
        results
            .map(|((key, ..), checked)| checked.and_then(|_| of(key).cloned().unwrap_or(Ok(()))))
            .collect()
    }
}
