//! One key in detail: which node serves it, its attributes and, only on request, the start of its value.

use std::time::Duration;

use bytes::Bytes;
use cache_core::config::Address;
use cache_core::slot::slot_of;
use cache_core::{CacheError, Ttl};

use super::queries::unless_refused;
use super::{Administration, KeyType};
use crate::command::Command;
use crate::deadline::Deadline;
use crate::error::accept;
use crate::reply::Reply;
use crate::router::Router;

/// The attributes of one key. `None` for those that the server does not report, or not to this user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspected {
    /// The type.
    pub kind: Option<KeyType>,
    /// The remaining TTL.
    pub ttl: Option<Ttl>,
    /// The memory that the value and its name use, in bytes.
    pub size: Option<u64>,
    /// The time since its last use. Servers that evict by frequency do not know it.
    pub idle: Option<Duration>,
    /// The server's internal encoding, such as `embstr` or `listpack`.
    pub encoding: Option<String>,
}

/// The first bytes of a value.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Excerpt {
    /// The bytes.
    pub bytes: Bytes,
    /// The length of the whole value.
    pub length: u64,
}

impl Administration {
    /// The primary that serves `key`, as far as is known. No I/O.
    #[must_use]
    pub fn home_of(&self, key: &[u8]) -> Option<Address> {
        match &self.router {
            Router::Single(single) => Some(single.primary().ok()?.address().clone()),
            Router::Cluster(cluster) => Some(cluster.owner(key)?.address().clone()),
        }
    }

    /// The slot of `key`; `None` outside of a cluster.
    #[must_use]
    pub fn slot_of(&self, key: &[u8]) -> Option<u16> {
        matches!(self.router, Router::Cluster(_)).then(|| slot_of(key))
    }

    /// The attributes of `key`, from the node that serves it; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// As any call; [`CacheError::Denied`] if the user may ask neither for the type nor for the TTL.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn inspect(&self, key: &[u8]) -> Result<Option<Inspected>, CacheError> {
        // As writes, so that only primaries answer.
        let object = |what| Command::write("OBJECT").arg(what).key(key);
        // The times come first: the server may count later queries as a use.
        let commands = [
            object("IDLETIME"),
            object("ENCODING"),
            Command::write("TYPE").key(key),
            Command::write("PTTL").key(key),
            Command::write("MEMORY").arg("USAGE").key(key),
        ];
        let deadline = Deadline::after(self.timeout);
        let mut replies = self.router.send_batch(&commands, deadline).await?.into_iter();
        let mut reply = || replies.next().unwrap_or(Reply::Nil);
        let (idle, encoding) = (unless_error(reply()), unless_error(reply()));
        let (kind, ttl, size) = (reply(), reply(), reply());
        let denied = match &kind {
            Reply::Error(_) => accept(kind.clone(), "TYPE").err(),
            _ => None,
        };
        let kind = unless_refused(kind, "TYPE")?;
        let ttl = unless_refused(ttl, "PTTL")?;
        if let (None, None, Some(denied)) = (&kind, &ttl, denied) {
            return Err(denied);
        }
        let kind = kind.as_ref().and_then(Reply::as_text);
        let ttl = ttl.map(Reply::into_int).transpose()?;
        if kind == Some("none") || ttl == Some(-2) {
            return Ok(None);
        }
        Ok(Some(Inspected {
            kind: kind.map(KeyType::of),
            ttl: ttl.map(|millis| match u64::try_from(millis) {
                Ok(millis) => Ttl::After(Duration::from_millis(millis)),
                Err(_) => Ttl::Forever,
            }),
            size: unless_refused(size, "MEMORY")?.and_then(|size| size.into_count().ok()),
            idle: idle
                .and_then(|idle| idle.into_count().ok())
                .map(Duration::from_secs),
            encoding: encoding.and_then(|encoding| encoding.as_text().map(str::to_owned)),
        }))
    }

    /// The first `most` bytes of the value of `key`; `None` if it does not exist. The server counts this as a use.
    ///
    /// # Errors
    ///
    /// As any call; [`CacheError::Rejected`] (`WRONGTYPE`) if the value is not a string.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn excerpt(&self, key: &[u8], most: u32) -> Result<Option<Excerpt>, CacheError> {
        let end = i64::from(most) - 1;
        let mut commands = vec![
            Command::write("EXISTS").key(key),
            Command::write("STRLEN").key(key),
        ];
        if end >= 0 {
            commands.push(Command::write("GETRANGE").key(key).int(0).int(end));
        }
        let deadline = Deadline::after(self.timeout);
        let mut replies = self.router.send_batch(&commands, deadline).await?.into_iter();
        let mut reply = |name| accept(replies.next().unwrap_or(Reply::Bulk(Bytes::new())), name);
        let exists = reply("EXISTS")?.into_count()? > 0;
        let length = reply("STRLEN")?.into_count()?;
        let bytes = reply("GETRANGE")?.into_value()?.unwrap_or_default();
        Ok(exists.then_some(Excerpt { bytes, length }))
    }
}

/// The reply, unless it is a refusal.
fn unless_error(reply: Reply) -> Option<Reply> {
    match reply {
        Reply::Error(_) | Reply::Nil => None,
        reply => Some(reply),
    }
}

impl std::fmt::Debug for Excerpt {
    /// Shows the lengths, never the bytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Excerpt")
            .field("bytes", &self.bytes.len())
            .field("length", &self.length)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpt_debug_hides_its_bytes() {
        let excerpt = Excerpt {
            bytes: "hunter2".into(),
            length: 9,
        };
        assert_eq!(format!("{excerpt:?}"), "Excerpt { bytes: 7, length: 9 }");
    }
}
