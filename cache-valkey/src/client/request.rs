//! A command or a script of the caller's choice: its arguments, its keys, where it goes, its deadline.
//!
//! Not in here: what is refused because connections are shared, see `refused.rs`.

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

/// A command or a script that is about to be sent; made by [`ValkeyClient::command`] and [`ValkeyClient::script`].
///
/// # Keys
///
/// Keys decide where a call goes, so pass each of them by [`key`](Self::key) and nothing else. On a cluster all keys of
/// a call have to be in one slot: a hash tag puts them there (`{user:7}:name`, `{user:7}:mail`). A call without keys goes to
/// the primary, on a cluster to any primary, picked by chance; [`routed_by`](Self::routed_by) picks it by a key. For
/// something on every primary, such as `SCRIPT FLUSH`, there is [`ValkeyClient::administration`].
///
/// # Refused
///
/// Connections are shared by all calls. So what would block one, change its state or turn it into a subscriber is refused
/// before anything is sent: `BLPOP` and its kin, `XREAD` with `BLOCK`, `MULTI`, `WATCH`, `SUBSCRIBE`, `MONITOR`, `SELECT`, `AUTH`,
/// `HELLO`, `RESET`, `QUIT`, `CLIENT REPLY` and the like. A script does what a transaction does; for the others take a
/// connection of your own.
///
/// # Many at once
///
/// Calls that are awaited together (`futures::future::join_all`) travel together: a pipeline needs nothing else.
///
/// `Debug` shows the name and the number of arguments, never their content.
#[must_use = "nothing is sent before `send`"]
pub struct Request<'a> {
    client: &'a ValkeyClient,
    what: What<'a>,
    effect: Effect,
    keys: Vec<&'a [u8]>,
    /// Of a command with its keys, in order; of a script without.
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

    /// Appends a key. Of a script it is one of `KEYS`, wherever among the arguments it is appended.
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

    /// Appends an argument that is no key.
    pub fn arg(mut self, argument: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.arguments.push(Argument::Bytes(argument.as_ref()));
        self
    }

    /// Appends arguments that are no keys.
    pub fn args(self, arguments: impl IntoIterator<Item = &'a (impl AsRef<[u8]> + ?Sized + 'a)>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// Appends an argument that may be large: from 64 KiB on it is not copied.
    pub fn value(mut self, value: &'a Bytes) -> Self {
        self.arguments.push(Argument::Value(value));
        self
    }

    /// Appends an integer.
    pub fn int(mut self, number: i64) -> Self {
        self.arguments.push(Argument::Int(number));
        self
    }

    /// Goes to the node that serves `key`, which is no argument. Default: to any primary. Without effect if there is a
    /// [`key`](Self::key).
    pub fn routed_by(mut self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.routed_by = Some(key.as_ref());
        self
    }

    /// How long the call may take, retries included: 1 ms or more. Default: the client's read timeout for [`Effect::Read`],
    /// else its write timeout.
    ///
    /// A server that answers nothing at all for longer than the client's timeouts loses its connection, and the call with it.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sends it and waits for the reply.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for a command that is refused because connections are shared, for an empty or overlong
    /// key, for keys of several slots on a cluster and for a deadline below 1 ms; then nothing was sent. What the server
    /// refuses is translated as for every call ([`CacheError::Rejected`] with its code, and so on), so it is never a
    /// [`Reply::Error`]. [`CacheError::Timeout`] and [`CacheError::Unavailable`] say by their
    /// [`outcome`](CacheError::outcome) whether it may have been carried out.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a call that is dropped leaves the connection in order. It may or may not have been carried out.
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
        self.client.open()?;
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

/// As [`check_key`], for a key that need not be text.
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
    fn keys_of_one_call_are_in_one_slot() {
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
    fn a_key_is_any_bytes_within_the_limit() {
        assert!(check_bytes(b"\xff").is_ok());
        assert!(check_bytes(b"").is_err());
        assert!(check_bytes(&[b'k'; cache_core::MAX_KEY_LEN + 1]).is_err());
    }
}
