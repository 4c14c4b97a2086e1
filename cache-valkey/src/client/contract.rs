//! The contract, by commands of the server.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{CacheClient, CacheError, Entry, InvalidationSource, Lookup, Ttl, check_key};

use super::{MAX_VALUE_LEN, Since, ValkeyClient};
use crate::command::{Command, Effect};
use crate::reply::Reply;
use crate::script::{
    COMPARE_AND_DELETE, COMPARE_AND_SET, GET_AND_DELETE, GET_AND_EXPIRE, INCREMENT_WITH_LIFE, PERSIST,
};
use crate::tracking::{Source, Tracking};

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheClient for ValkeyClient {
    async fn get(&self, key: &str) -> Result<Bytes, CacheError> {
        check_key(key)?;
        let command = Command::read("GET").key(key.as_bytes());
        self.call(&command, self.reading()?)
            .await?
            .into_value()?
            .ok_or(CacheError::Miss)
    }

    async fn get_entry(&self, key: &str) -> Result<Entry, CacheError> {
        check_key(key)?;
        let deadline = self.reading()?;
        self.lookup(key, deadline).await?.into_entry()
    }

    async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        check_keys(keys)?;
        let deadline = self.reading()?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        // No MGET: it answers a key of another type as a miss, which `get` does not.
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
        self.call(&command, self.writing()?).await.map(drop)
    }

    async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError> {
        for (key, value) in entries {
            check_key(key)?;
            check_value(value)?;
        }
        let life = ttl.as_millis()?;
        let deadline = self.writing()?;
        if entries.is_empty() {
            return Ok(());
        }
        let commands: Vec<_> = entries
            .iter()
            .map(|(key, value)| Command::write("SET").key(key.as_bytes()).value(value).px(life))
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
        Ok(self.call(&command, self.writing()?).await? != Reply::Nil)
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
        let life = ttl.as_millis()?;
        let deadline = self.writing()?;
        if self.has(Since::SET_IF_EQUAL, key) {
            let command = Command::write_once("SET")
                .key(key.as_bytes())
                .value(&value)
                .arg("IFEQ")
                .arg(expected)
                .px(life);
            return Ok(self.call(&command, deadline).await? != Reply::Nil);
        }
        let life = life.unwrap_or(0).to_string();
        let arguments: [&[u8]; 3] = [expected, &value, life.as_bytes()];
        Ok(self
            .run(&COMPARE_AND_SET, key, &arguments, Effect::WriteOnce, deadline)
            .await?
            .into_int()?
            == 1)
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError> {
        check_key(key)?;
        let deadline = self.writing()?;
        let reply = if self.has(Since::DELETE_IF_EQUAL, key) {
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
        let deadline = self.writing()?;
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
        let life = ttl.as_millis()?;
        let deadline = self.writing()?;
        let reply = if self.has_getdel(key) {
            let command = Command::write("GETEX").key(key.as_bytes());
            let command = match life {
                Some(_) => command.px(life),
                None => command.arg("PERSIST"),
            };
            self.call(&command, deadline).await?
        } else {
            let life = life.unwrap_or(0).to_string();
            self.run(&GET_AND_EXPIRE, key, &[life.as_bytes()], Effect::Write, deadline)
                .await?
        };
        reply.into_value()?.ok_or(CacheError::Miss)
    }

    async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        check_keys(keys)?;
        // UNLINK is DEL that frees the memory in the background, on every version.
        self.count("UNLINK", Effect::Write, keys, self.writing()?).await
    }

    async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        check_keys(keys)?;
        self.count("EXISTS", Effect::Read, keys, self.reading()?).await
    }

    async fn incr(&self, key: &str) -> Result<i64, CacheError> {
        check_key(key)?;
        let command = Command::write_once("INCR").key(key.as_bytes());
        self.call(&command, self.writing()?).await?.into_int()
    }

    async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError> {
        check_key(key)?;
        let life = ttl.as_millis()?;
        let deadline = self.writing()?;
        let Some(life) = life else {
            let command = Command::write_once("INCRBY").key(key.as_bytes()).int(delta);
            return self.call(&command, deadline).await?.into_int();
        };
        let (delta, life) = (delta.to_string(), life.to_string());
        let arguments = [delta.as_bytes(), life.as_bytes()];
        self.run(&INCREMENT_WITH_LIFE, key, &arguments, Effect::WriteOnce, deadline)
            .await?
            .into_exact_int()
    }

    async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError> {
        check_key(key)?;
        let life = ttl.as_millis()?;
        let deadline = self.writing()?;
        let reply = match life {
            Some(life) => {
                self.call(
                    &Command::write("PEXPIRE").key(key.as_bytes()).millis(life),
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
        read_life(self.call(&command, self.reading()?).await?.into_int()?)
    }

    fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>> {
        match self.feed.tracking() {
            Tracking::Off => None,
            _ => Some(Arc::new(Source(Arc::clone(&self.feed)))),
        }
    }

    async fn ping(&self) -> Result<(), CacheError> {
        self.router.ping(self.reading()?).await?;
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

/// What PTTL says: -2 is no such key, -1 no expiry.
pub(super) fn read_life(millis: i64) -> Result<Ttl, CacheError> {
    match millis {
        -2 => Err(CacheError::Miss),
        ..0 => Ok(Ttl::Forever),
        // In its last millisecond a key is still there.
        left => Ok(Ttl::millis(left.unsigned_abs().max(1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_read_as_the_server_means_it() {
        assert!(matches!(read_life(-2), Err(CacheError::Miss)));
        assert_eq!(read_life(-1).unwrap(), Ttl::Forever);
        assert_eq!(read_life(0).unwrap(), Ttl::millis(1));
        assert_eq!(read_life(1_500).unwrap(), Ttl::millis(1_500));
    }
}
