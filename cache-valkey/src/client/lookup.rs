//! Reads keys with their TTLs, tracked while there is an invalidation listener.

use std::sync::Arc;

use cache_core::{CacheError, Entry, Lookup, Vouch};
use futures::future::join_all;

use super::ValkeyClient;
use super::contract::parse_pttl;
use super::each::CheckedKeys;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::error::accept;
use crate::node::Node;
use crate::reply::Reply;

impl ValkeyClient {
    /// Reads one key, which must be valid.
    pub(super) async fn lookup(&self, key: &str, deadline: Deadline) -> Result<Lookup, CacheError> {
        // One pipeline. Another client may write between the two commands. Then the TTL belongs to the newer
        // value, and a near cache that keeps the older value is either told of the change or keeps it only
        // for a short time.
        let commands = [
            Command::read("GET").key(key.as_bytes()),
            Command::read("PTTL").key(key.as_bytes()),
        ];
        let (replies, vouch) = if self.feed.has_listeners() {
            let answers = self.router.send_tracked(&commands, deadline).await?;
            let replies = answers.replies.into_iter().zip(&commands);
            let replies = replies.map(|(reply, command)| {
                let reply = accept(reply, command.name());
                self.refusals.note(command.name(), &reply);
                reply
            });
            (replies.collect::<Result<_, _>>()?, answers.vouch)
        } else {
            (self.call_all(&commands, deadline).await?, None)
        };
        let mut replies = replies.into_iter();
        let mut next = || replies.next().unwrap_or(Reply::Nil);
        read(next(), next(), vouch)
    }

    /// Reads many keys, with one result per key.
    pub(super) async fn lookup_each(&self, keys: &[&str]) -> Vec<Result<Lookup, CacheError>> {
        let CheckedKeys {
            mut results,
            valid,
            deadline,
        } = match self.check_each(keys, || Ok(Lookup::untracked_absence())) {
            Ok(checked) => checked,
            Err(results) => return results,
        };
        match valid[..] {
            [position] => results[position] = self.lookup(keys[position], deadline).await,
            _ => {
                let asked: Vec<&str> = valid.iter().map(|position| keys[*position]).collect();
                for (position, result) in valid.into_iter().zip(self.lookup_all(&asked, deadline).await) {
                    results[position] = result;
                }
            }
        }
        results
    }

    /// Reads valid keys: one pipeline per primary, all primaries in parallel.
    async fn lookup_all(&self, keys: &[&str], deadline: Deadline) -> Vec<Result<Lookup, CacheError>> {
        if !self.feed.has_listeners() {
            return self.lookup_untracked(keys, deadline).await;
        }
        let groups = self.router.by_primary(keys, deadline);
        let answers = join_all(groups.iter().map(|(primary, positions)| async move {
            let keys: Vec<&str> = positions.iter().map(|position| keys[*position]).collect();
            match primary {
                Some(primary) => self.lookup_at(primary, &keys, deadline).await,
                None => self.lookup_untracked(&keys, deadline).await,
            }
        }))
        .await;
        let mut results: Vec<_> = keys.iter().map(|_| Ok(Lookup::untracked_absence())).collect();
        for ((_, positions), answers) in groups.iter().zip(answers) {
            for (position, answer) in positions.iter().zip(answers) {
                results[*position] = answer;
            }
        }
        results
    }

    /// Reads keys of one primary. Keys that it does not answer, because it is gone or a slot has moved, are
    /// read again without tracking, like any other read.
    async fn lookup_at(
        &self,
        primary: &Arc<Node>,
        keys: &[&str],
        deadline: Deadline,
    ) -> Vec<Result<Lookup, CacheError>> {
        let reads = primary.read_each_tracked(keys, deadline).await;
        let (mut results, mut again) = (Vec::with_capacity(keys.len()), Vec::new());
        for (position, (key, tracked)) in keys.iter().zip(reads).enumerate() {
            let Some(tracked) = tracked else {
                again.push(position);
                results.push(Ok(Lookup::untracked_absence()));
                continue;
            };
            // A node that is no longer the key's primary reports no changes.
            let vouch = tracked.vouch.filter(|_| self.router.is_primary_of(primary, key));
            results.push(read(tracked.value, tracked.remaining, vouch));
        }
        if !again.is_empty() {
            let keys: Vec<&str> = again.iter().map(|position| keys[*position]).collect();
            let answers = self.lookup_untracked(&keys, deadline).await;
            for (position, answer) in again.into_iter().zip(answers) {
                results[position] = answer;
            }
        }
        results
    }

    async fn lookup_untracked(&self, keys: &[&str], deadline: Deadline) -> Vec<Result<Lookup, CacheError>> {
        let mut commands = Vec::with_capacity(2 * keys.len());
        for key in keys {
            commands.push(Command::read("GET").key(key.as_bytes()));
            commands.push(Command::read("PTTL").key(key.as_bytes()));
        }
        let replies = self.router.send_each(&commands, deadline).await;
        let mut replies = replies.into_iter().zip(&commands).map(|(reply, command)| {
            let reply = reply.and_then(|reply| accept(reply, command.name()));
            self.refusals.note(command.name(), &reply);
            reply
        });
        let mut next = || replies.next().unwrap_or(Ok(Reply::Nil));
        keys.iter()
            .map(|_| {
                let (value, ttl) = (next(), next());
                read(value?, ttl?, None)
            })
            .collect()
    }
}

/// Turns the replies to `GET` and `PTTL` into the result for a key.
fn read(value: Reply, ttl: Reply, vouch: Option<Vouch>) -> Result<Lookup, CacheError> {
    let lookup = match value.into_value()? {
        None => Lookup::untracked_absence(),
        Some(value) => match parse_pttl(ttl.into_int()?) {
            Ok(remaining) => Lookup::Found(Entry::untracked(value, remaining)),
            // It expired between the two commands.
            Err(CacheError::Miss) => Lookup::untracked_absence(),
            Err(error) => return Err(error),
        },
    };
    Ok(match vouch {
        Some(vouch) => lookup.vouched(vouch),
        None => lookup,
    })
}
