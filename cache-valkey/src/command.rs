//! One command: its name, its arguments, the key that routes it, and what a retry may do with it.
//!
//! Arguments are borrowed from the caller, so that a retry costs no copy. Not in here: which commands
//! make up an operation; that is the client's and the scripts' business.

use bytes::Bytes;

use crate::reply::Reply;

/// One command with borrowed arguments.
#[derive(Clone)]
pub(crate) struct Command<'a> {
    name: &'static str,
    arguments: Arguments<'a>,
    key: Option<&'a [u8]>,
    effect: Effect,
    answer: ScriptAnswer,
}

/// What the script answers that a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScriptAnswer {
    Int,
    /// Bytes, or nil.
    Value,
}

/// The arguments of a command. A few of them need no allocation.
#[derive(Clone)]
struct Arguments<'a> {
    first: [Argument<'a>; 4],
    count: usize,
    /// All of them, if there are more than fit.
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
    /// A value of the caller's, which may be kept without a copy.
    Value(&'a Bytes),
    Int(i64),
}

/// What a command does to the server, and so whether it may be sent twice.
/// The order is that of care: the effect of a batch is the greatest of its commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effect {
    /// Reads only: any node of the shard may answer, and it may be repeated.
    Read,
    /// Writes, and doing it twice is doing it once.
    Write,
    /// Writes, and doing it twice is different: never repeated while the outcome of a try is unknown.
    WriteOnce,
}

impl<'a> Command<'a> {
    /// A command that reads.
    pub(crate) const fn read(name: &'static str) -> Self {
        Self::new(name, Effect::Read)
    }

    /// A command that writes, and may be repeated.
    pub(crate) const fn write(name: &'static str) -> Self {
        Self::new(name, Effect::Write)
    }

    /// A command that writes, and must not be done twice.
    pub(crate) const fn write_once(name: &'static str) -> Self {
        Self::new(name, Effect::WriteOnce)
    }

    /// A command with this effect.
    pub(crate) const fn new(name: &'static str, effect: Effect) -> Self {
        Self {
            name,
            arguments: Arguments::NONE,
            key: None,
            effect,
            answer: ScriptAnswer::Int,
        }
    }

    /// Says what the script answers that it runs. Without this, an integer.
    pub(crate) const fn answered_by(mut self, answer: ScriptAnswer) -> Self {
        self.answer = answer;
        self
    }

    /// Appends a key. The first one routes the command.
    pub(crate) fn key(mut self, key: &'a [u8]) -> Self {
        self.key.get_or_insert(key);
        self.arg(key)
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

    /// Appends a life in milliseconds. A life is at most [`Ttl::MAX`](cache_core::Ttl::MAX), far within `i64`.
    pub(crate) fn millis(self, millis: u64) -> Self {
        self.int(i64::try_from(millis).unwrap_or(i64::MAX))
    }

    /// Appends `PX millis`, or nothing for an entry that never expires.
    pub(crate) fn px(self, life: Option<u64>) -> Self {
        match life {
            Some(millis) => self.arg("PX").millis(millis),
            None => self,
        }
    }

    fn push(&mut self, argument: Argument<'a>) {
        self.arguments.push(argument);
    }

    pub(crate) const fn name(&self) -> &'static str {
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

    /// Whether `reply` may be this command's: a refusal always may, and of commands that answer in one
    /// shape it must have that shape.
    pub(crate) fn is_answered_by(&self, reply: &Reply) -> bool {
        match (self.name, reply) {
            (_, Reply::Error(_)) => true,
            ("GET" | "GETDEL" | "GETEX", _) => matches!(reply, Reply::Bulk(_) | Reply::Nil),
            ("EVAL" | "EVALSHA", _) if self.answer == ScriptAnswer::Value => {
                matches!(reply, Reply::Bulk(_) | Reply::Nil)
            }
            ("MGET", _) => matches!(reply, Reply::Array(_)),
            ("SET", _) => matches!(reply, Reply::Status(_) | Reply::Nil),
            ("PING", _) => matches!(reply, Reply::Status(_)),
            (
                "INCR" | "INCRBY" | "UNLINK" | "EXISTS" | "PEXPIRE" | "PTTL" | "DELIFEQ" | "EVAL" | "EVALSHA",
                _,
            ) => matches!(reply, Reply::Int(_)),
            _ => true,
        }
    }

    /// Whether it has an effect on the command that comes next on the connection, and on no other.
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
    fn a_reply_of_another_shape_cannot_be_the_commands_own() {
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
    fn the_first_key_routes_and_nothing_of_the_arguments_is_shown() {
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
