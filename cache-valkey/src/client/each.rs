//! Calls that answer each key on its own.

use std::collections::HashMap;

use bytes::Bytes;
use cache_core::{CacheError, Ttl, check_key};

use super::ValkeyClient;
use super::contract::check_value;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::error::accept;

impl ValkeyClient {
    pub(super) async fn read_each(&self, keys: &[&str]) -> Vec<Result<Bytes, CacheError>> {
        let deadline = self.reading().map(Deadline::or_wanted);
        let mut results: Vec<Result<Bytes, CacheError>> = Vec::with_capacity(keys.len());
        let (mut commands, mut places) = (Vec::with_capacity(keys.len()), Vec::with_capacity(keys.len()));
        for (place, key) in keys.iter().enumerate() {
            let checked = check_key(key).and_then(|()| deadline.clone());
            results.push(checked.and(Err(CacheError::Miss)));
            if matches!(results[place], Err(CacheError::Miss)) {
                // One by one and not MGET, which takes a value of another type for a miss.
                commands.push(Command::read("GET").key(key.as_bytes()));
                places.push(place);
            }
        }
        let Ok(deadline) = deadline else {
            return results;
        };
        if commands.is_empty() {
            return results;
        }
        let replies = self.router.send_each(&commands, deadline).await;
        for ((place, command), reply) in places.into_iter().zip(&commands).zip(replies) {
            let value = reply
                .and_then(|reply| accept(reply, command.name()))
                .and_then(|reply| reply.into_value());
            results[place] = value.and_then(|value| value.ok_or(CacheError::Miss));
        }
        results
    }

    pub(super) async fn store_each(&self, entries: &[(&str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>> {
        let deadline = self.writing().map(Deadline::or_wanted);
        let check = |key: &str, value: &Bytes, ttl: Ttl| {
            check_key(key)?;
            check_value(value)?;
            let millis = ttl.as_millis()?;
            deadline.clone().map(|_| millis)
        };
        // The last entry of a key is the one that counts: so there is no order among commands that may be repeated alone.
        let mut last: HashMap<&str, usize> = HashMap::with_capacity(entries.len());
        let mut ttls = Vec::with_capacity(entries.len());
        for (place, (key, value, ttl)) in entries.iter().enumerate() {
            let checked = check(key, value, *ttl);
            if checked.is_ok() {
                last.insert(key, place);
            }
            ttls.push(checked);
        }
        let Ok(deadline) = deadline else {
            return ttls.into_iter().map(|checked| checked.map(drop)).collect();
        };
        let (mut commands, mut command_of) =
            (Vec::with_capacity(last.len()), HashMap::with_capacity(last.len()));
        for (place, ((key, value, _), ttl)) in entries.iter().zip(&ttls).enumerate() {
            if let Ok(ttl) = ttl
                && last.get(key) == Some(&place)
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
