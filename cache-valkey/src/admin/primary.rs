//! One primary: scan it, remove keys on it, count its keys.
//!
//! Not in here: the attributes of its keys, see `describe.rs`.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::config::Address;
use cache_core::slot::slot_of;
use cache_core::{CacheError, Pattern, Stage};

use super::Identity;
use super::describe::KeyType;
use super::pool::{Loan, Pools};
use crate::command::Command;
use crate::deadline::Deadline;
use crate::error::accept;
use crate::identity::Expected;
use crate::reply::{Reply, ServerError};

/// The most keys of one slot per `UNLINK`, which delays other clients by about 0.1 ms.
const GROUP: usize = 128;

/// How much longer than its deadline a call waits for an attempt to connect to fail. The timeout of the attempt is often the
/// same, and its error says what is wrong.
const DIAL_GRACE: Duration = Duration::from_millis(100);

/// One primary, for separate work. Keys are bytes here, because a server may hold keys that are not text.
#[derive(Clone)]
pub struct Primary {
    pub(super) address: Address,
    /// The server that has to answer there.
    pub(super) expected: Expected,
    pub(super) slots: Vec<RangeInclusive<u16>>,
    pub(super) epoch: Option<u64>,
    pub(super) kind: Kind,
    /// The only cache that it may change.
    pub(super) bound: Option<Arc<Identity>>,
    pub(super) pools: Arc<Pools>,
    pub(super) timeout: Duration,
}

/// The kind of server, as far as it changes how commands are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// Whether it is part of a cluster. There, one command must not name keys of several slots.
    pub(super) clustered: bool,
    /// Whether it keeps one key table per slot.
    pub(super) by_slot: bool,
}

impl Kind {
    /// Derives the kind from the server's own name and version.
    pub(super) fn of(clustered: bool, server: &str, version: &str) -> Self {
        let mut numbers = version.split('.').map_while(|part| part.parse().ok());
        let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let since = if server == "valkey" { (8, 0) } else { (7, 4) };
        Self {
            clustered,
            by_slot: clustered && version >= since,
        }
    }
}

/// One page of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanPage {
    /// The cursor for the next page; 0 at the end.
    pub cursor: u64,
    /// The matching keys of this page. A page may be empty long before the end, and a key may appear twice.
    pub keys: Vec<Bytes>,
}

/// The result of a removal. Each key is counted in exactly one field, or did not exist.
#[derive(Clone, Debug, Default)]
pub struct Unlinked {
    /// How many keys existed and are gone.
    pub removed: u64,
    /// The keys that another node serves (`MOVED`, `ASK`, `TRYAGAIN`). This server did not change them.
    pub moved: Vec<Bytes>,
    /// The keys without a usable answer, and the last reason. After a lost connection or a timeout, some of them may
    /// be gone.
    pub failed: Option<(Vec<Bytes>, CacheError)>,
}

impl Unlinked {
    /// The result if none of `keys` had a usable answer.
    #[must_use]
    pub const fn failed(keys: Vec<Bytes>, error: CacheError) -> Self {
        Self {
            removed: 0,
            moved: Vec::new(),
            failed: Some((keys, error)),
        }
    }

    /// The keys without a usable answer.
    #[must_use]
    pub fn unanswered(&self) -> &[Bytes] {
        self.failed.as_ref().map_or(&[], |(keys, _)| keys)
    }

    /// How many keys were removed, if all keys had an answer.
    ///
    /// # Errors
    ///
    /// The last reason why a key had no answer.
    pub fn into_removed(self) -> Result<u64, CacheError> {
        match self.failed {
            None => Ok(self.removed),
            Some((_, error)) => Err(error),
        }
    }

    pub(super) fn fail(&mut self, keys: &[Bytes], error: CacheError) {
        let (failed, last) = self.failed.get_or_insert_with(|| (Vec::new(), error.clone()));
        failed.extend_from_slice(keys);
        *last = error;
    }
}

impl Primary {
    /// Its address.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// The slots it served when it was looked up; empty outside of a cluster.
    #[must_use]
    pub fn slots(&self) -> &[RangeInclusive<u16>] {
        &self.slots
    }

    /// The epoch of its slots when it was [looked up](super::Administration::all_primaries). It grows with every
    /// failover, and when another primary hands it a slot, unless it was already the last to receive one. `None` if
    /// it is not known.
    #[must_use]
    pub const fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    /// Whether a scan goes slot by slot in ascending order. Then the low 14 bits of the cursor are the current slot,
    /// and the number of a slot is the cursor of its start. No server documents this; Valkey from 8.0 and Redis from
    /// 7.4 do it in a cluster.
    #[must_use]
    pub const fn scans_by_slot(&self) -> bool {
        self.kind.by_slot
    }

    /// One step of a scan for `pattern`, starting at `cursor` (0 is the start). `kind`, if given, restricts it to
    /// keys of that type. `count` is the number of keys that the server examines, not the number it returns.
    ///
    /// # Errors
    ///
    /// As any call. Never repeated automatically: a cursor is valid on this server only.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the same cursor may be asked again.
    pub async fn scan(
        &self,
        cursor: u64,
        pattern: &Pattern,
        kind: Option<KeyType>,
        count: u32,
    ) -> Result<ScanPage, CacheError> {
        let cursor = cursor.to_string();
        let mut scan = Command::read("SCAN").arg(&cursor);
        if *pattern.as_bytes() != *b"*" {
            scan = scan.arg("MATCH").arg(pattern.as_bytes());
        }
        scan = scan.arg("COUNT").int(i64::from(count.max(1)));
        if let Some(kind) = kind {
            scan = scan.arg("TYPE").arg(kind.name());
        }
        let mut replies = self.ask(&[&scan]).await?.into_iter();
        let mut page = accept(replies.next().unwrap_or(Reply::Nil), "SCAN")?
            .into_array()?
            .into_iter();
        let cursor = page.next().unwrap_or(Reply::Nil);
        let cursor = cursor
            .as_text()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| cursor.unexpected("a cursor"))?;
        let keys = page.next().unwrap_or(Reply::Nil).into_array()?;
        let keys = keys
            .into_iter()
            .filter_map(|key| key.into_value().transpose())
            .collect::<Result<_, _>>()?;
        Ok(ScanPage { cursor, keys })
    }

    /// Removes `keys` in one round trip, adjacent keys of one slot in one command. The keys that failed, and the
    /// reason, are part of the answer.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; keys that were sent may be removed.
    pub async fn unlink(&self, keys: &[Bytes]) -> Unlinked {
        let groups: Vec<&[Bytes]> = if self.kind.clustered {
            keys.chunk_by(|one, two| slot_of(one) == slot_of(two))
                .flat_map(|group| group.chunks(GROUP))
                .collect()
        } else {
            keys.chunks(GROUP).collect()
        };
        let commands: Vec<_> = groups
            .iter()
            .map(|group| {
                group
                    .iter()
                    .fold(Command::write("UNLINK"), |unlink, key| unlink.key(key))
            })
            .collect();
        let borrowed: Vec<_> = commands.iter().collect();
        let replies = match self.ask(&borrowed).await {
            Ok(replies) => replies,
            Err(error) => return Unlinked::failed(keys.to_vec(), error),
        };
        let mut unlinked = Unlinked::default();
        for (reply, group) in replies.into_iter().zip(groups) {
            match reply {
                Reply::Error(refusal) if is_elsewhere(&refusal) => unlinked.moved.extend_from_slice(group),
                reply => match accept(reply, "UNLINK").and_then(Reply::into_count) {
                    Ok(removed) => unlinked.removed += removed,
                    Err(error) => unlinked.fail(group, error),
                },
            }
        }
        unlinked
    }

    /// Sends a `PING`, which costs the server next to nothing. Its round trip shows how long other clients wait.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn ping(&self) -> Result<(), CacheError> {
        let mut replies = self.ask(&[&Command::read("PING")]).await?.into_iter();
        accept(replies.next().unwrap_or(Reply::Nil), "PING").map(drop)
    }

    /// The number of keys in the selected database.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn key_count(&self) -> Result<u64, CacheError> {
        let mut replies = self.ask(&[&Command::read("DBSIZE")]).await?.into_iter();
        accept(replies.next().unwrap_or(Reply::Nil), "DBSIZE")?.into_count()
    }

    /// `draws` random keys of the selected database, in one round trip. A key may be drawn more than once. Fewer
    /// come back if the database is empty.
    ///
    /// # Errors
    ///
    /// As any call.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn random_keys(&self, draws: usize) -> Result<Vec<Bytes>, CacheError> {
        let draw = Command::read("RANDOMKEY");
        let replies = self.ask(&vec![&draw; draws]).await?;
        let drawn = replies
            .into_iter()
            .map(|reply| accept(reply, "RANDOMKEY")?.into_value());
        drawn.filter_map(Result::transpose).collect()
    }

    pub(super) async fn ask(&self, commands: &[&Command<'_>]) -> Result<Vec<Reply>, CacheError> {
        let deadline = Deadline::after(self.timeout);
        let connecting = self.pools.get(&self.address, &self.expected);
        let connected = tokio::time::timeout_at(deadline.at() + DIAL_GRACE, connecting).await;
        let mut loan = connected.map_err(|_| deadline.passed(Stage::Connect))??;
        let asked = deadline
            .limit(Stage::Reply, async {
                if let Some(cache) = &self.bound {
                    loan.is_of(cache, self, deadline).await?;
                }
                let replies = loan.connection.send_batch(commands, deadline).await?;
                loan.note_refusals(&replies);
                Ok(replies)
            })
            .await;
        if asked.is_err() {
            // With an error in it, the connection must not go back to the pool.
            drop(Loan::take(loan));
        }
        asked
    }
}

/// Whether a refusal means that another node serves the key or part of its slot.
pub(super) fn is_elsewhere(refusal: &ServerError) -> bool {
    matches!(refusal.code.as_str(), "MOVED" | "ASK" | "TRYAGAIN")
}

impl fmt::Debug for Primary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Primary")
            .field("address", &self.address.to_string())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scan_by_slot_depends_on_product_and_version() {
        let by_slot = |clustered, server, version| Kind::of(clustered, server, version).by_slot;
        assert!(by_slot(true, "valkey", "8.0.1") && by_slot(true, "valkey", "9.1.0"));
        assert!(by_slot(true, "redis", "7.4.2") && by_slot(true, "redis", "8.0"));
        assert!(!by_slot(true, "valkey", "7.2.11") && !by_slot(true, "redis", "7.0.15"));
        assert!(!by_slot(false, "valkey", "8.0.1") && !by_slot(true, "", ""));
    }
}
