//! What servers tell of keys besides their names: type, life, size, idle time. Never a value.

use std::time::Duration;

use bytes::Bytes;
use cache_core::{CacheError, Ttl};

use super::primary::lives_elsewhere;
use super::{Administration, Primary};
use crate::command::Command;
use crate::deadline::Deadline;
use crate::error::{accept, from_server};
use crate::reply::Reply;

/// The type of what a key holds.
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

    /// Its name at the server, such as `zset`; `other` where it is not one of these.
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

    /// The type of that name; [`KeyType::Other`] for one that is not known.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let known = Self::NAMED.into_iter().find(|kind| kind.name() == name);
        known.unwrap_or(Self::Other)
    }
}

/// What is to be told of keys. Each is one small command per key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// The type (`TYPE`).
    pub kind: bool,
    /// What is left of the life (`PTTL`).
    pub life: bool,
    /// The memory that it takes (`MEMORY USAGE`).
    pub size: bool,
    /// Since when nobody used it (`OBJECT IDLETIME`); servers that evict by frequency do not know.
    pub idle: bool,
}

/// What is known of a key; `None` is what was not asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The type.
    pub kind: Option<KeyType>,
    /// What is left of the life.
    pub life: Option<Ttl>,
    /// The memory that it takes, with its name, in bytes.
    pub size: Option<u64>,
    /// Since when nobody used it.
    pub idle: Option<Duration>,
}

/// What one server says of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Described {
    /// It is there.
    Here(Description),
    /// It is not.
    Gone,
    /// Another server has to be asked.
    Elsewhere,
}

impl Described {
    /// What is known of the key, if it is on the server that was asked.
    #[must_use]
    pub fn here(self) -> Option<Description> {
        match self {
            Self::Here(description) => Some(description),
            Self::Gone | Self::Elsewhere => None,
        }
    }
}

impl Primary {
    /// What it knows of `keys`, in their order, in one round trip.
    ///
    /// # Errors
    ///
    /// As any call.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn describe(&self, keys: &[Bytes], traits: Traits) -> Result<Vec<Described>, CacheError> {
        let commands: Vec<_> = keys.iter().flat_map(|key| traits.commands(key)).collect();
        let borrowed: Vec<_> = commands.iter().collect();
        traits.read(keys, &commands, self.ask(&borrowed).await?)
    }
}

impl Administration {
    /// What is known of `keys`, of any slots, in their order, each wherever it lives now; `None` where it is
    /// not there.
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
        traits: Traits,
    ) -> Result<Vec<Option<Description>>, CacheError> {
        let commands: Vec<_> = keys.iter().flat_map(|key| traits.commands(key)).collect();
        let deadline = Deadline::after(self.timeout);
        let replies = self.router.send_batch(&commands, deadline).await?;
        let described = traits.read(keys, &commands, replies)?;
        Ok(described.into_iter().map(Described::here).collect())
    }
}

impl Traits {
    /// What to ask for one key. As writes, so that only primaries are asked.
    fn commands<'a>(self, key: &'a Bytes) -> impl Iterator<Item = Command<'a>> {
        let kind = self.kind.then(|| Command::write("TYPE").key(key));
        let life = self.life.then(|| Command::write("PTTL").key(key));
        let size = self.size.then(|| Command::write("MEMORY").arg("USAGE").key(key));
        let idle = self
            .idle
            .then(|| Command::write("OBJECT").arg("IDLETIME").key(key));
        kind.into_iter().chain(life).chain(size).chain(idle)
    }

    fn read(
        self,
        keys: &[Bytes],
        commands: &[Command<'_>],
        replies: Vec<Reply>,
    ) -> Result<Vec<Described>, CacheError> {
        let mut answers = commands.iter().zip(replies);
        let each =
            usize::from(self.kind) + usize::from(self.life) + usize::from(self.size) + usize::from(self.idle);
        keys.iter()
            .map(|_| {
                // All answers of a key are taken, whatever the first of them says.
                let of_key: Vec<_> = answers.by_ref().take(each).collect();
                let mut description = Description::default();
                for (command, reply) in of_key {
                    match reply {
                        Reply::Error(refusal) if lives_elsewhere(&refusal) => {
                            return Ok(Described::Elsewhere);
                        }
                        // What some servers say of a key that is not there.
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
    /// Takes in what the server answered to a command; whether the key is there.
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
                    self.life =
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
    fn answers_are_read_key_by_key() {
        let traits = Traits {
            kind: true,
            life: true,
            ..Traits::default()
        };
        let keys: Vec<Bytes> = ["here", "gone", "moved", "forever"]
            .into_iter()
            .map(Bytes::from)
            .collect();
        let commands: Vec<_> = keys.iter().flat_map(|key| traits.commands(key)).collect();
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
        let here = |kind, life| {
            Described::Here(Description {
                kind: Some(kind),
                life: Some(life),
                ..Description::default()
            })
        };
        assert_eq!(
            traits.read(&keys, &commands, replies).unwrap(),
            [
                here(KeyType::String, Ttl::After(Duration::from_millis(1_500))),
                Described::Gone,
                Described::Elsewhere,
                here(KeyType::SortedSet, Ttl::Forever),
            ]
        );
    }
}
