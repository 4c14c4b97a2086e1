//! Implements the `CacheClient` contract with server commands.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{CacheClient, CacheError, Entry, InvalidationSource, Lookup, Ttl, check_key};

use super::{AddedIn, MAX_VALUE_LEN, ValkeyClient};
use crate::command::{Command, Effect};
use crate::reply::Reply;
use crate::script::{
    COMPARE_AND_DELETE, COMPARE_AND_SET, GET_AND_DELETE, GET_AND_EXPIRE, INCREMENT_WITH_TTL, PERSIST,
};
use crate::tracking::{Source, Tracking};

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheClient for ValkeyClient {
    async fn get(&self, key: &str) -> Result<Bytes, CacheError> {
        check_key(key)?;
        let command = Command::read("GET").key(key.as_bytes());
        self.call(&command, self.read_deadline()?)
            .await?
            .into_value()?
            .ok_or(CacheError::Miss)
    }

    async fn get_entry(&self, key: &str) -> Result<Entry, CacheError> {
        check_key(key)?;
        let deadline = self.read_deadline()?;
        self.lookup(key, deadline).await?.into_entry()
    }

    async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        check_keys(keys)?;
        let deadline = self.read_deadline()?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        // Not MGET, which reports a key of another type as a miss; `get` does not.
        let commands: Vec<_> = keys
            .iter()
            .map(|key| Command::read("GET").key(key.as_bytes()))
            .collect();
        let replies = self.call_all(&commands, deadline).await?;
        replies.into_iter().map(Reply::into_value).collect()
    }

    async fn get_each<'a>(&self, keys: &[&'a str]) -> Vec<Result<Bytes, CacheError>> {
        self.read_each(keys).await
    }

    async fn get_entries<'a>(&self, keys: &[&'a str]) -> Vec<Result<Lookup, CacheError>> {
        self.lookup_each(keys).await
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<(), CacheError> {
        check_key(key)?;
        check_value(&value)?;
        let command = Command::write("SET")
            .key(key.as_bytes())
            .value(&value)
            .px(ttl.as_millis()?);
        self.call(&command, self.write_deadline()?).await.map(drop)
    }

    async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError> {
        for (key, value) in entries {
            check_key(key)?;
            check_value(value)?;
        }
        let ttl_millis = ttl.as_millis()?;
        let deadline = self.write_deadline()?;
        if entries.is_empty() {
            return Ok(());
        }
        let commands: Vec<_> = entries
            .iter()
            .map(|(key, value)| {
                Command::write("SET")
                    .key(key.as_bytes())
                    .value(value)
                    .px(ttl_millis)
            })
            .collect();
        self.call_all(&commands, deadline).await.map(drop)
    }

    async fn set_each<'a>(&self, entries: &[(&'a str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>> {
        self.store_each(entries).await
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<bool, CacheError> {
        check_key(key)?;
        check_value(&value)?;
        let command = Command::write_once("SET")
            .key(key.as_bytes())
            .value(&value)
            .arg("NX")
            .px(ttl.as_millis()?);
        Ok(self.call(&command, self.write_deadline()?).await? != Reply::Nil)
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
        let ttl_millis = ttl.as_millis()?;
        let deadline = self.write_deadline()?;
        if self.supports(AddedIn::SET_IF_EQUAL, key) {
            let command = Command::write_once("SET")
                .key(key.as_bytes())
                .value(&value)
                .arg("IFEQ")
                .arg(expected)
                .px(ttl_millis);
            return Ok(self.call(&command, deadline).await? != Reply::Nil);
        }
        let ttl_millis = ttl_millis.unwrap_or(0).to_string();
        let arguments: [&[u8]; 3] = [expected, &value, ttl_millis.as_bytes()];
        Ok(self
            .run(&COMPARE_AND_SET, key, &arguments, Effect::WriteOnce, deadline)
            .await?
            .into_int()?
            == 1)
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError> {
        check_key(key)?;
        let deadline = self.write_deadline()?;
        let reply = if self.supports(AddedIn::DELETE_IF_EQUAL, key) {
            let command = Command::write_once("DELIFEQ").key(key.as_bytes()).arg(expected);
            self.call(&command, deadline).await?
        } else {
            self.run(&COMPARE_AND_DELETE, key, &[expected], Effect::WriteOnce, deadline)
                .await?
        };
        Ok(reply.into_int()? == 1)
    }

    async fn get_and_delete(&self, key: &str) -> Result<Bytes, CacheError> {
        check_key(key)?;
        let deadline = self.write_deadline()?;
        let reply = if self.has_getdel(key) {
            let command = Command::write_once("GETDEL").key(key.as_bytes());
            self.call(&command, deadline).await?
        } else {
            self.run(&GET_AND_DELETE, key, &[], Effect::WriteOnce, deadline)
                .await?
        };
        reply.into_value()?.ok_or(CacheError::Miss)
    }

    async fn get_and_expire(&self, key: &str, ttl: Ttl) -> Result<Bytes, CacheError> {
        check_key(key)?;
        let ttl_millis = ttl.as_millis()?;
        let deadline = self.write_deadline()?;
        let reply = if self.has_getdel(key) {
            let command = Command::write("GETEX").key(key.as_bytes());
            let command = match ttl_millis {
                Some(_) => command.px(ttl_millis),
                None => command.arg("PERSIST"),
            };
            self.call(&command, deadline).await?
        } else {
            let ttl_millis = ttl_millis.unwrap_or(0).to_string();
            self.run(
                &GET_AND_EXPIRE,
                key,
                &[ttl_millis.as_bytes()],
                Effect::Write,
                deadline,
            )
            .await?
        };
        reply.into_value()?.ok_or(CacheError::Miss)
    }

    async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        check_keys(keys)?;
        // UNLINK is DEL that frees memory in the background. Every supported version has it.
        self.count("UNLINK", Effect::Write, keys, self.write_deadline()?)
            .await
    }

    async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        check_keys(keys)?;
        self.count("EXISTS", Effect::Read, keys, self.read_deadline()?)
            .await
    }

    async fn incr(&self, key: &str) -> Result<i64, CacheError> {
        check_key(key)?;
        let command = Command::write_once("INCR").key(key.as_bytes());
        self.call(&command, self.write_deadline()?).await?.into_int()
    }

    async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError> {
        check_key(key)?;
        let ttl_millis = ttl.as_millis()?;
        let deadline = self.write_deadline()?;
        let Some(ttl_millis) = ttl_millis else {
            let command = Command::write_once("INCRBY").key(key.as_bytes()).int(delta);
            return self.call(&command, deadline).await?.into_int();
        };
        let (delta, ttl_millis) = (delta.to_string(), ttl_millis.to_string());
        let arguments = [delta.as_bytes(), ttl_millis.as_bytes()];
        self.run(&INCREMENT_WITH_TTL, key, &arguments, Effect::WriteOnce, deadline)
            .await?
            .into_exact_int()
    }

    async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError> {
        check_key(key)?;
        let ttl_millis = ttl.as_millis()?;
        let deadline = self.write_deadline()?;
        let reply = match ttl_millis {
            Some(ttl_millis) => {
                self.call(
                    &Command::write("PEXPIRE").key(key.as_bytes()).millis(ttl_millis),
                    deadline,
                )
                .await?
            }
            None => self.run(&PERSIST, key, &[], Effect::Write, deadline).await?,
        };
        Ok(reply.into_int()? == 1)
    }

    async fn ttl(&self, key: &str) -> Result<Ttl, CacheError> {
        check_key(key)?;
        let command = Command::read("PTTL").key(key.as_bytes());
        parse_pttl(self.call(&command, self.read_deadline()?).await?.into_int()?)
    }

    fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>> {
        match self.feed.tracking() {
            Tracking::Off => None,
            _ => Some(Arc::new(Source(Arc::clone(&self.feed)))),
        }
    }

    async fn ping(&self) -> Result<(), CacheError> {
        self.router.ping(self.read_deadline()?).await?;
        self.refusals.check()
    }

    async fn close(&self) -> Result<(), CacheError> {
        if !self.closed.swap(true, Ordering::AcqRel) {
            self.feed.close();
            self.router.close();
            self.administration.close();
        }
        Ok(())
    }
}

fn check_keys(keys: &[&str]) -> Result<(), CacheError> {
    keys.iter().try_for_each(|key| check_key(key))
}

pub(super) fn check_value(value: &Bytes) -> Result<(), CacheError> {
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

/// Reads a reply to PTTL: -2 means no such key, -1 no expiry.
pub(super) fn parse_pttl(millis: i64) -> Result<Ttl, CacheError> {
    match millis {
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
    fn pttl_reply_is_read_as_ttl() {
        assert!(matches!(parse_pttl(-2), Err(CacheError::Miss)));
        assert_eq!(parse_pttl(-1).unwrap(), Ttl::Forever);
        assert_eq!(parse_pttl(0).unwrap(), Ttl::millis(1));
        assert_eq!(parse_pttl(1_500).unwrap(), Ttl::millis(1_500));
    }
}
