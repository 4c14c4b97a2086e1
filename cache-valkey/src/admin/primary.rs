//! One primary by itself: scan it, remove keys on it, count its keys.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::config::Address;
use cache_core::{CacheError, Pattern, Stage};

use super::pool::Pools;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::error::{accept, from_server};
use crate::reply::Reply;

/// One primary by itself. Keys are bytes here: a server may hold keys that are no text.
#[derive(Clone)]
pub struct Primary {
    address: Address,
    slots: Vec<RangeInclusive<u16>>,
    pools: Arc<Pools>,
    timeout: Duration,
}

/// One page of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanPage {
    /// Where to go on; 0 at the end.
    pub cursor: u64,
    /// What matched on this page; may be none long before the end, and a key may come twice.
    pub keys: Vec<Bytes>,
}

/// What became of keys that were to be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unlinked {
    /// How many were there and are gone.
    pub removed: u64,
    /// Those that live elsewhere, or are on their way: not removed here.
    pub moved: Vec<Bytes>,
}

impl Primary {
    pub(super) const fn new(
        address: Address,
        slots: Vec<RangeInclusive<u16>>,
        pools: Arc<Pools>,
        timeout: Duration,
    ) -> Self {
        Self {
            address,
            slots,
            pools,
            timeout,
        }
    }

    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// The slots it served when it was looked up; empty outside of a cluster.
    #[must_use]
    pub fn slots(&self) -> &[RangeInclusive<u16>] {
        &self.slots
    }

    /// One step of a scan for `pattern`, from `cursor` on (0 is the start). `count` is how much the server
    /// looks at, not how much it answers.
    ///
    /// # Errors
    ///
    /// As any call. Never repeated on its own: a cursor is worth something on this server only.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the same cursor may be asked again.
    pub async fn scan(&self, cursor: u64, pattern: &Pattern, count: u32) -> Result<ScanPage, CacheError> {
        let cursor = cursor.to_string();
        let scan = Command::read("SCAN")
            .arg(&cursor)
            .arg("MATCH")
            .arg(pattern.as_bytes())
            .arg("COUNT")
            .int(i64::from(count.max(1)));
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

    /// Removes `keys`, in one round trip.
    ///
    /// # Errors
    ///
    /// As any call; some of the keys may be gone all the same. A refusal of one key other than "lives
    /// elsewhere" is the call's error.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; keys that were sent may be removed.
    pub async fn unlink(&self, keys: &[Bytes]) -> Result<Unlinked, CacheError> {
        let commands: Vec<_> = keys.iter().map(|key| Command::write("UNLINK").key(key)).collect();
        let borrowed: Vec<_> = commands.iter().collect();
        let mut unlinked = Unlinked::default();
        for (reply, key) in self.ask(&borrowed).await?.into_iter().zip(keys) {
            match reply {
                Reply::Error(refusal) if matches!(refusal.code.as_str(), "MOVED" | "ASK" | "TRYAGAIN") => {
                    unlinked.moved.push(key.clone());
                }
                Reply::Error(refusal) => return Err(from_server(&refusal, "UNLINK")),
                reply => unlinked.removed += reply.into_count()?,
            }
        }
        Ok(unlinked)
    }

    /// How many keys it holds, in the selected database.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn key_count(&self) -> Result<u64, CacheError> {
        let mut replies = self.ask(&[&Command::read("DBSIZE")]).await?.into_iter();
        accept(replies.next().unwrap_or(Reply::Nil), "DBSIZE")?.into_count()
    }

    async fn ask(&self, commands: &[&Command<'_>]) -> Result<Vec<Reply>, CacheError> {
        let deadline = Deadline::after(self.timeout);
        deadline
            .limit(Stage::Reply, async {
                let connection = self.pools.get(&self.address).await?;
                connection.send_batch(commands).await
            })
            .await
    }
}

impl fmt::Debug for Primary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Primary")
            .field("address", &self.address.to_string())
            .finish_non_exhaustive()
    }
}
