//! Builds and sends a command or script of the caller's choice: its arguments, keys, routing and deadline.
//!
//! Not in here: the commands that shared connections must not carry, see `refused.rs`.

mod refused;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use cache_core::slot::slot_of;
use cache_core::{CacheError, check_key};

use super::ValkeyClient;
use crate::command::{Command, Effect};
use crate::deadline::Deadline;
use crate::error::accept;
use crate::reply::Reply;
use crate::script::Script;

/// A command or a script that is about to be sent, created by [`ValkeyClient::command`] and
/// [`ValkeyClient::script`].
///
/// # Keys
///
/// Keys decide where a call goes, so pass every key with [`key`](Self::key), and only keys. On a cluster all
/// keys of a call must be in one slot; a hash tag ensures that (`{user:7}:name`, `{user:7}:mail`). A call
/// without keys goes to the primary, on a cluster to a random primary; [`routed_by`](Self::routed_by) picks
/// the primary of a key. To run a command on every primary, such as `SCRIPT FLUSH`, use
/// [`ValkeyClient::administration`].
///
/// # Refused
///
/// Connections are shared by all calls. Commands that would block a connection, change its state or subscribe
/// are refused before anything is sent: `BLPOP` and similar, `XREAD` with `BLOCK`, `MULTI`, `WATCH`,
/// `SUBSCRIBE`, `MONITOR`, `SELECT`, `AUTH`, `HELLO`, `RESET`, `QUIT`, `CLIENT REPLY` and others. Use a
/// script instead of a transaction; for the others, open a connection of your own.
///
/// # Many at once
///
/// Calls that are awaited together (`futures::future::join_all`) are sent together, as a pipeline.
///
/// `Debug` shows the name and the number of arguments, never their contents.
#[must_use = "nothing is sent before `send`"]
pub struct Request<'a> {
    client: &'a ValkeyClient,
    what: What<'a>,
    effect: Effect,
    keys: Vec<&'a [u8]>,
    /// A command's arguments include its keys, in order; a script's do not.
    arguments: Vec<Argument<'a>>,
    routed_by: Option<&'a [u8]>,
    deadline: Option<Duration>,
}

#[derive(Clone, Copy)]
enum What<'a> {
    Command(&'a str),
    Script(&'a Script),
}

/// One argument of a request.
#[derive(Clone, Copy)]
enum Argument<'a> {
    Key(&'a [u8]),
    Bytes(&'a [u8]),
    Value(&'a Bytes),
    Int(i64),
}

impl<'a> Request<'a> {
    pub(super) const fn command(client: &'a ValkeyClient, name: &'a str, effect: Effect) -> Self {
        Self::new(client, What::Command(name), effect)
    }

    pub(super) const fn script(client: &'a ValkeyClient, script: &'a Script, effect: Effect) -> Self {
        Self::new(client, What::Script(script), effect)
    }

    const fn new(client: &'a ValkeyClient, what: What<'a>, effect: Effect) -> Self {
        Self {
            client,
            what,
            effect,
            keys: Vec::new(),
            arguments: Vec::new(),
            routed_by: None,
            deadline: None,
        }
    }

    /// Appends a key. For a script it becomes one of `KEYS`, independent of its position among the arguments.
    pub fn key(mut self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        let key = key.as_ref();
        self.keys.push(key);
        if matches!(self.what, What::Command(_)) {
            self.arguments.push(Argument::Key(key));
        }
        self
    }

    /// Appends keys.
    pub fn keys(self, keys: impl IntoIterator<Item = &'a (impl AsRef<[u8]> + ?Sized + 'a)>) -> Self {
        keys.into_iter().fold(self, Self::key)
    }

    /// Appends an argument that is not a key.
    pub fn arg(mut self, argument: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.arguments.push(Argument::Bytes(argument.as_ref()));
        self
    }

    /// Appends arguments that are not keys.
    pub fn args(self, arguments: impl IntoIterator<Item = &'a (impl AsRef<[u8]> + ?Sized + 'a)>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// Appends an argument that may be large. It is not copied if it has 64 KiB or more.
    pub fn value(mut self, value: &'a Bytes) -> Self {
        self.arguments.push(Argument::Value(value));
        self
    }

    /// Appends an integer.
    pub fn int(mut self, number: i64) -> Self {
        self.arguments.push(Argument::Int(number));
        self
    }

    /// Routes the call to the node that serves `key`, which is not sent as an argument. Has no effect if
    /// there is a [`key`](Self::key). Default: any primary.
    pub fn routed_by(mut self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.routed_by = Some(key.as_ref());
        self
    }

    /// How long the call may take, retries included: 1 ms or more. Default: the client's read timeout for
    /// [`Effect::Read`], otherwise its write timeout.
    ///
    /// If a server answers nothing at all for longer than the client's timeouts, its connection is closed and
    /// the call fails.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sends the request and waits for the reply.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for a command that shared connections must not carry, for an empty or
    /// overlong key, for keys in several slots on a cluster and for a deadline below 1 ms; nothing was sent
    /// then. A refusal by the server is translated as for every call ([`CacheError::Rejected`] with its code,
    /// and so on), so it is never a [`Reply::Error`]. For [`CacheError::Timeout`] and
    /// [`CacheError::Unavailable`], [`outcome`](CacheError::outcome) says whether the command may have been
    /// applied.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the call leaves the connection usable. The command may or may not have been
    /// applied.
    pub async fn send(self) -> Result<Reply, CacheError> {
        let deadline = self.check()?;
        match self.what {
            What::Command(name) => {
                let command =
                    self.arguments
                        .iter()
                        .fold(
                            Command::named(name, self.effect),
                            |command, argument| match *argument {
                                Argument::Key(key) => command.key(key),
                                other => append(command, other),
                            },
                        );
                let command = self.route(command);
                let reply = self.client.router.send(&command, deadline).await?;
                accept(reply, name)
            }
            What::Script(script) => {
                let by_digest = self.evaluate("EVALSHA", script.digest());
                match self.client.router.send(&by_digest, deadline).await? {
                    Reply::Error(error) if error.code == "NOSCRIPT" => {
                        let by_text = self.evaluate("EVAL", script.text());
                        accept(self.client.router.send(&by_text, deadline).await?, "EVAL")
                    }
                    reply => accept(reply, "EVALSHA"),
                }
            }
        }
    }

    fn check(&self) -> Result<Deadline, CacheError> {
        if let What::Command(name) = self.what {
            let first = self.arguments.iter().map(|argument| match argument {
                Argument::Bytes(bytes) => *bytes,
                Argument::Value(bytes) => bytes,
                Argument::Key(_) | Argument::Int(_) => b"",
            });
            refused::check(name, &first)?;
        }
        for key in self.keys.iter().chain(&self.routed_by) {
            check_bytes(key)?;
        }
        if self.client.router.is_cluster() {
            one_slot(&self.keys)?;
        }
        self.client.check_open()?;
        let usual = match self.effect {
            Effect::Read => self.client.read_timeout,
            Effect::Write | Effect::WriteOnce => self.client.write_timeout,
        };
        match self.deadline {
            Some(given) if given < Duration::from_millis(1) => Err(invalid("deadline", "takes 1 ms or more")),
            given => Ok(Deadline::after(given.unwrap_or(usual))),
        }
    }

    fn evaluate(&'a self, name: &'a str, what: &'a str) -> Command<'a> {
        let count = i64::try_from(self.keys.len()).unwrap_or(i64::MAX);
        let command = Command::named(name, self.effect).arg(what).int(count);
        let command = self.keys.iter().fold(command, |command, key| command.key(key));
        let command = self
            .arguments
            .iter()
            .fold(command, |command, argument| append(command, *argument));
        self.route(command)
    }

    fn route<'c>(&self, command: Command<'c>) -> Command<'c>
    where
        'a: 'c,
    {
        match self.routed_by {
            Some(key) => command.routed_by(key),
            None => command,
        }
    }
}

fn append<'a>(command: Command<'a>, argument: Argument<'a>) -> Command<'a> {
    match argument {
        Argument::Key(bytes) | Argument::Bytes(bytes) => command.arg(bytes),
        Argument::Value(value) => command.value(value),
        Argument::Int(number) => command.int(number),
    }
}

/// As [`check_key`], for a key that may be any bytes.
fn check_bytes(key: &[u8]) -> Result<(), CacheError> {
    match key.len() {
        0 => check_key(""),
        1..=cache_core::MAX_KEY_LEN => Ok(()),
        len => Err(invalid(
            "key",
            format!("{len} bytes long; at most {} are taken", cache_core::MAX_KEY_LEN),
        )),
    }
}

/// Whether one node serves all these keys.
fn one_slot(keys: &[&[u8]]) -> Result<(), CacheError> {
    let Some((first, others)) = keys.split_first() else {
        return Ok(());
    };
    let slot = slot_of(first);
    match others.iter().position(|key| slot_of(key) != slot) {
        None => Ok(()),
        Some(other) => Err(invalid(
            "keys",
            format!(
                "keys 1 and {} are in different slots ({slot} and {}), which different nodes of a cluster may serve; give \
                 all keys of one call the same hash tag, such as {{user:7}}",
                other + 2,
                slot_of(others[other]),
            ),
        )),
    }
}

fn invalid(argument: &'static str, reason: impl Into<std::borrow::Cow<'static, str>>) -> CacheError {
    CacheError::InvalidInput {
        argument,
        reason: reason.into(),
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments = match self.what {
            What::Command(name) => {
                write!(f, "Request({name}")?;
                self.arguments.len()
            }
            What::Script(script) => {
                write!(f, "Request({script:?}")?;
                self.arguments.len() + self.keys.len()
            }
        };
        write!(f, ", {arguments} arguments)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_call_must_be_in_one_slot() {
        assert!(one_slot(&[]).is_ok());
        assert!(one_slot(&[b"a"]).is_ok());
        assert!(one_slot(&[b"{a}1", b"{a}2", b"{a}3"]).is_ok());
        let error = one_slot(&[b"{a}1", b"{a}2", b"b"]).unwrap_err().to_string();
        assert!(
            error.starts_with("invalid keys: keys 1 and 3 are in different slots"),
            "{error}"
        );
    }

    #[test]
    fn key_may_be_any_bytes_within_the_limit() {
        assert!(check_bytes(b"\xff").is_ok());
        assert!(check_bytes(b"").is_err());
        assert!(check_bytes(&[b'k'; cache_core::MAX_KEY_LEN + 1]).is_err());
    }
}
