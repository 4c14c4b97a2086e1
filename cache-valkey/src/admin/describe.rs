//! What servers report about keys apart from their names: type, TTL, size, idle time. Never a value.

use std::time::Duration;

use bytes::Bytes;
use cache_core::{CacheError, Ttl};

use super::primary::is_elsewhere;
use super::{Administration, Primary};
use crate::command::Command;
use crate::deadline::Deadline;
use crate::error::{accept, from_server};
use crate::reply::Reply;

/// The type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyType {
    /// Bytes: what the cache contract stores.
    String,
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set.
    SortedSet,
    /// A hash.
    Hash,
    /// A stream.
    Stream,
    /// A type of a module.
    Other,
}

impl KeyType {
    const NAMED: [Self; 6] = [
        Self::String,
        Self::List,
        Self::Set,
        Self::SortedSet,
        Self::Hash,
        Self::Stream,
    ];

    /// Its name at the server, such as `zset`; `other` for every other type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "zset",
            Self::Hash => "hash",
            Self::Stream => "stream",
            Self::Other => "other",
        }
    }

    /// The type with that name; [`KeyType::Other`] for an unknown name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let known = Self::NAMED.into_iter().find(|kind| kind.name() == name);
        known.unwrap_or(Self::Other)
    }
}

/// The attributes to fetch for each key. Each costs one small command per key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyAttributes {
    /// The type (`TYPE`).
    pub kind: bool,
    /// The remaining TTL (`PTTL`).
    pub ttl: bool,
    /// The memory it uses (`MEMORY USAGE`).
    pub size: bool,
    /// The time since its last use (`OBJECT IDLETIME`). Servers that evict by frequency do not know it.
    pub idle: bool,
}

/// The fetched attributes of a key; `None` for those that were not asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The type.
    pub kind: Option<KeyType>,
    /// The remaining TTL.
    pub ttl: Option<Ttl>,
    /// The memory that the value and its name use, in bytes.
    pub size: Option<u64>,
    /// The time since its last use.
    pub idle: Option<Duration>,
}

/// What one server reports about one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Described {
    /// The key exists.
    Here(Description),
    /// The key does not exist.
    Gone,
    /// Another server serves the key.
    Elsewhere,
}

impl Described {
    /// The attributes, if the key is on the server that was asked.
    #[must_use]
    pub fn here(self) -> Option<Description> {
        match self {
            Self::Here(description) => Some(description),
            Self::Gone | Self::Elsewhere => None,
        }
    }
}

impl Primary {
    /// The attributes of `keys`, in their order, in one round trip.
    ///
    /// # Errors
    ///
    /// As any call.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn describe(
        &self,
        keys: &[Bytes],
        attributes: KeyAttributes,
    ) -> Result<Vec<Described>, CacheError> {
        let commands: Vec<_> = keys.iter().flat_map(|key| attributes.commands(key)).collect();
        let borrowed: Vec<_> = commands.iter().collect();
        attributes.read(keys, &commands, self.ask(&borrowed).await?)
    }
}

impl Administration {
    /// The attributes of `keys` of any slots, in their order, each from the node that serves it now. `None` for a
    /// key that does not exist.
    ///
    /// # Errors
    ///
    /// As any call.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn describe(
        &self,
        keys: &[Bytes],
        attributes: KeyAttributes,
    ) -> Result<Vec<Option<Description>>, CacheError> {
        let commands: Vec<_> = keys.iter().flat_map(|key| attributes.commands(key)).collect();
        let deadline = Deadline::after(self.timeout);
        let replies = self.router.send_batch(&commands, deadline).await?;
        let described = attributes.read(keys, &commands, replies)?;
        Ok(described.into_iter().map(Described::here).collect())
    }
}

impl KeyAttributes {
    /// The commands for one key. They are sent as writes, so that only primaries answer.
    fn commands<'a>(self, key: &'a Bytes) -> impl Iterator<Item = Command<'a>> {
        let kind = self.kind.then(|| Command::write("TYPE").key(key));
        let ttl = self.ttl.then(|| Command::write("PTTL").key(key));
        let size = self.size.then(|| Command::write("MEMORY").arg("USAGE").key(key));
        let idle = self
            .idle
            .then(|| Command::write("OBJECT").arg("IDLETIME").key(key));
        kind.into_iter().chain(ttl).chain(size).chain(idle)
    }

    fn read(
        self,
        keys: &[Bytes],
        commands: &[Command<'_>],
        replies: Vec<Reply>,
    ) -> Result<Vec<Described>, CacheError> {
        let mut answers = commands.iter().zip(replies);
        let each =
            usize::from(self.kind) + usize::from(self.ttl) + usize::from(self.size) + usize::from(self.idle);
        keys.iter()
            .map(|_| {
                // Takes all replies of a key, even if the first one is a refusal.
                let of_key: Vec<_> = answers.by_ref().take(each).collect();
                let mut description = Description::default();
                for (command, reply) in of_key {
                    match reply {
                        Reply::Error(refusal) if is_elsewhere(&refusal) => {
                            return Ok(Described::Elsewhere);
                        }
                        // Some servers say this of a key that does not exist.
                        Reply::Error(refusal) if refusal.detail.contains("no such key") => {
                            return Ok(Described::Gone);
                        }
                        Reply::Error(refusal) => return Err(from_server(&refusal, command.name())),
                        reply => {
                            if !description.take_in(command.name(), accept(reply, command.name())?)? {
                                return Ok(Described::Gone);
                            }
                        }
                    }
                }
                Ok(Described::Here(description))
            })
            .collect()
    }
}

impl Description {
    /// Adds the reply to a command. Returns whether the key exists.
    fn take_in(&mut self, command: &str, reply: Reply) -> Result<bool, CacheError> {
        if matches!(reply, Reply::Nil) {
            return Ok(false);
        }
        match command {
            "TYPE" => {
                let name = reply.as_text().ok_or_else(|| reply.unexpected("a type"))?;
                if name == "none" {
                    return Ok(false);
                }
                self.kind = Some(KeyType::of(name));
            }
            "PTTL" => match reply.into_int()? {
                -2 => return Ok(false),
                millis => {
                    let millis = u64::try_from(millis).ok();
                    self.ttl =
                        Some(millis.map_or(Ttl::Forever, |millis| Ttl::After(Duration::from_millis(millis))));
                }
            },
            "MEMORY" => self.size = Some(reply.into_count()?),
            _ => self.idle = Some(Duration::from_secs(reply.into_count()?)),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::ServerError;

    #[test]
    fn replies_are_read_key_by_key() {
        let attributes = KeyAttributes {
            kind: true,
            ttl: true,
            ..KeyAttributes::default()
        };
        let keys: Vec<Bytes> = ["here", "gone", "moved", "forever"]
            .into_iter()
            .map(Bytes::from)
            .collect();
        let commands: Vec<_> = keys.iter().flat_map(|key| attributes.commands(key)).collect();
        let ask = || {
            Reply::Error(Box::new(ServerError {
                code: "ASK".into(),
                detail: "1 a:1".into(),
            }))
        };
        let replies = vec![
            Reply::Status("string".into()),
            Reply::Int(1_500),
            Reply::Status("none".into()),
            Reply::Int(-2),
            ask(),
            ask(),
            Reply::Status("zset".into()),
            Reply::Int(-1),
        ];
        let here = |kind, ttl| {
            Described::Here(Description {
                kind: Some(kind),
                ttl: Some(ttl),
                ..Description::default()
            })
        };
        assert_eq!(
            attributes.read(&keys, &commands, replies).unwrap(),
            [
                here(KeyType::String, Ttl::After(Duration::from_millis(1_500))),
                Described::Gone,
                Described::Elsewhere,
                here(KeyType::SortedSet, Ttl::Forever),
            ]
        );
    }
}
