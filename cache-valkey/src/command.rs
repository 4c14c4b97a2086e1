//! A command: its name, arguments, routing key, and whether it may be retried.
//!
//! Arguments are borrowed from the caller, so that a retry costs no copy. Not in here: which commands make up
//! an operation, see the client and the scripts.

use bytes::Bytes;

use crate::reply::Reply;

/// One command with borrowed arguments.
#[derive(Clone)]
pub(crate) struct Command<'a> {
    name: &'a str,
    arguments: Arguments<'a>,
    key: Option<&'a [u8]>,
    effect: Effect,
    answer: ScriptAnswer,
    /// Whether any reply is accepted: the options of a command that the caller named are not known here.
    takes_any_reply: bool,
}

/// The kind of reply of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScriptAnswer {
    Int,
    /// Bytes, or nil.
    Value,
}

/// The arguments of a command. Up to four need no allocation.
#[derive(Clone)]
struct Arguments<'a> {
    first: [Argument<'a>; 4],
    count: usize,
    /// All arguments, if there are more than four.
    all: Vec<Argument<'a>>,
}

impl<'a> Arguments<'a> {
    const NONE: Self = Self {
        first: [Argument::Int(0); 4],
        count: 0,
        all: Vec::new(),
    };

    fn push(&mut self, argument: Argument<'a>) {
        if let Some(place) = self.first.get_mut(self.count) {
            *place = argument;
        } else {
            if self.all.is_empty() {
                self.all.extend_from_slice(&self.first);
            }
            self.all.push(argument);
        }
        self.count += 1;
    }

    fn as_slice(&self) -> &[Argument<'a>] {
        self.first.get(..self.count).unwrap_or(&self.all)
    }
}

/// One argument.
#[derive(Clone, Copy)]
pub(crate) enum Argument<'a> {
    Bytes(&'a [u8]),
    /// A caller's value, which may be shared without a copy.
    Value(&'a Bytes),
    Int(i64),
}

/// What a command does to the server, and so whether it may be sent twice. Ordered by strictness: the effect
/// of a batch is the greatest effect of its commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Reads only. A replica may answer, as `CACHE_READ_FROM` says, and a lost call is repeated.
    Read,
    /// Writes, and running it twice equals running it once (`HSET`, `SADD`). A lost call is repeated.
    Write,
    /// Writes, and running it twice differs from running it once (`LPUSH`, `HINCRBY`). Never repeated while
    /// the outcome of an attempt is unknown.
    WriteOnce,
}

impl<'a> Command<'a> {
    /// A command that reads.
    pub(crate) const fn read(name: &'a str) -> Self {
        Self::new(name, Effect::Read)
    }

    /// A command that writes, and may be repeated.
    pub(crate) const fn write(name: &'a str) -> Self {
        Self::new(name, Effect::Write)
    }

    /// A command that writes, and must not run twice.
    pub(crate) const fn write_once(name: &'a str) -> Self {
        Self::new(name, Effect::WriteOnce)
    }

    /// A command with this effect.
    pub(crate) const fn new(name: &'a str, effect: Effect) -> Self {
        Self {
            name,
            arguments: Arguments::NONE,
            key: None,
            effect,
            answer: ScriptAnswer::Int,
            takes_any_reply: false,
        }
    }

    /// Sets the kind of reply of the script that it runs. Default: an integer.
    pub(crate) const fn answered_by(mut self, answer: ScriptAnswer) -> Self {
        self.answer = answer;
        self
    }

    /// A command that the caller named, with this effect. Any reply is accepted.
    pub(crate) const fn named(name: &'a str, effect: Effect) -> Self {
        let mut command = Self::new(name, effect);
        command.takes_any_reply = true;
        command
    }

    /// Appends a key. The first one routes the command.
    pub(crate) fn key(mut self, key: &'a [u8]) -> Self {
        self.key.get_or_insert(key);
        self.arg(key)
    }

    /// Routes the command by `key` unless it has a key already. Appends nothing.
    pub(crate) fn routed_by(mut self, key: &'a [u8]) -> Self {
        self.key.get_or_insert(key);
        self
    }

    /// Appends an argument.
    pub(crate) fn arg(mut self, bytes: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.push(Argument::Bytes(bytes.as_ref()));
        self
    }

    /// Appends a value, which is not copied if it is large.
    pub(crate) fn value(mut self, value: &'a Bytes) -> Self {
        self.push(Argument::Value(value));
        self
    }

    /// Appends an integer.
    pub(crate) fn int(mut self, value: i64) -> Self {
        self.push(Argument::Int(value));
        self
    }

    /// Appends a TTL in milliseconds. A TTL is at most [`Ttl::MAX`](cache_core::Ttl::MAX), far within `i64`.
    pub(crate) fn millis(self, millis: u64) -> Self {
        self.int(i64::try_from(millis).unwrap_or(i64::MAX))
    }

    /// Appends `PX millis`, or nothing for an entry that never expires.
    pub(crate) fn px(self, millis: Option<u64>) -> Self {
        match millis {
            Some(millis) => self.arg("PX").millis(millis),
            None => self,
        }
    }

    fn push(&mut self, argument: Argument<'a>) {
        self.arguments.push(argument);
    }

    pub(crate) const fn name(&self) -> &'a str {
        self.name
    }

    pub(crate) fn arguments(&self) -> &[Argument<'a>] {
        self.arguments.as_slice()
    }

    /// The key that routes it.
    pub(crate) const fn routing_key(&self) -> Option<&'a [u8]> {
        self.key
    }

    pub(crate) const fn effect(&self) -> Effect {
        self.effect
    }

    /// Whether `reply` may belong to this command. A refusal always may; a command with one kind of reply
    /// must get that kind.
    pub(crate) fn is_answered_by(&self, reply: &Reply) -> bool {
        match (self.name, reply) {
            (_, Reply::Error(_)) => true,
            _ if self.takes_any_reply => true,
            ("GET" | "GETDEL" | "GETEX", _) => matches!(reply, Reply::Bulk(_) | Reply::Nil),
            ("EVAL" | "EVALSHA", _) => match self.answer {
                ScriptAnswer::Int => matches!(reply, Reply::Int(_)),
                ScriptAnswer::Value => matches!(reply, Reply::Bulk(_) | Reply::Nil),
            },
            ("MGET", _) => matches!(reply, Reply::Array(_)),
            ("SET", _) => matches!(reply, Reply::Status(_) | Reply::Nil),
            ("PING", _) => matches!(reply, Reply::Status(_)),
            ("INCR" | "INCRBY" | "UNLINK" | "EXISTS" | "PEXPIRE" | "PTTL" | "DELIFEQ", _) => {
                matches!(reply, Reply::Int(_))
            }
            _ => true,
        }
    }

    /// Whether it affects only the next command on the connection.
    pub(crate) fn prepares_next(&self) -> bool {
        let is_caching = || matches!(self.arguments().first(), Some(Argument::Bytes(b"CACHING")));
        self.name == "ASKING" || (self.name == "CLIENT" && is_caching())
    }

    /// Whether any node of the shard may answer it.
    pub(crate) fn reads(&self) -> bool {
        self.effect == Effect::Read
    }
}

impl std::fmt::Debug for Command<'_> {
    /// Shows the name only: arguments are keys and values.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_of_wrong_kind_does_not_answer_command() {
        let get = Command::read("GET");
        assert!(get.is_answered_by(&Reply::Nil) && get.is_answered_by(&Reply::Bulk("x".into())));
        assert!(!get.is_answered_by(&Reply::Status("OK".into())));
        assert!(!Command::write("SET").is_answered_by(&Reply::Bulk("x".into())));
        assert!(!Command::write_once("INCR").is_answered_by(&Reply::Nil));
        let refusal = Reply::Error(Box::new(crate::reply::ServerError {
            code: "ERR".into(),
            detail: "no".into(),
        }));
        assert!(get.is_answered_by(&refusal));
    }

    #[test]
    fn first_key_routes_and_debug_hides_arguments() {
        let command = Command::write("SET").key(b"first").arg("value").px(Some(5));
        assert_eq!(command.routing_key(), Some(&b"first"[..]));
        assert_eq!(command.arguments().len(), 4);
        assert_eq!(format!("{command:?}"), "SET");
        let many = ["a", "b", "c", "d", "e", "f"];
        let command = many
            .iter()
            .fold(Command::read("MGET"), |command, key| command.key(key.as_bytes()));
        let keys: Vec<_> = command
            .arguments()
            .iter()
            .map(|argument| match argument {
                Argument::Bytes(key) => std::str::from_utf8(key).unwrap(),
                _ => "",
            })
            .collect();
        assert_eq!(keys, many);
        assert_eq!(
            Command::read("MGET").key(b"a").key(b"b").routing_key(),
            Some(&b"a"[..])
        );
    }
}
