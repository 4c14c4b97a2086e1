//! Small queries to one node: whether it answers, its time, its settings, the commands it knows, what a user may do.
//!
//! A user may lack the right to ask, and a managed server may not know the command. Both are `None`, not an error.

use std::collections::BTreeMap;
use std::time::Duration;

use cache_core::CacheError;

use super::Member;
use crate::command::{Command, Effect};
use crate::error::{accept, from_server};
use crate::reply::Reply;

/// What a user may do, as the server reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// It may.
    Allowed,
    /// It may not; the server's words.
    Refused(String),
}

impl Member {
    /// One round trip that costs the node next to nothing.
    ///
    /// # Errors
    ///
    /// If it does not answer, or refuses.
    pub async fn ping(&self) -> Result<(), CacheError> {
        let mut replies = self.ask(&[&Command::read("PING")]).await?.into_iter();
        accept(replies.next().unwrap_or(Reply::Nil), "PING").map(drop)
    }

    /// The node's wall clock, as time since 1970-01-01 00:00 UTC.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn time(&self) -> Result<Option<Duration>, CacheError> {
        let Some(reply) = self.ask_if_allowed(&Command::read("TIME")).await? else {
            return Ok(None);
        };
        Ok(time_of(&reply.into_array()?))
    }

    /// The settings in `names` that the node reports (`CONFIG GET`), by name. Do not ask for secrets.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn settings(&self, names: &[&str]) -> Result<Option<BTreeMap<String, String>>, CacheError> {
        let get = names
            .iter()
            .fold(Command::read("CONFIG").arg("GET"), |get, name| get.arg(*name));
        let Some(reply) = self.ask_if_allowed(&get).await? else {
            return Ok(None);
        };
        let setting = |name: &&str| Some(((*name).to_owned(), reply.field(name)?.as_text()?.to_owned()));
        Ok(Some(names.iter().filter_map(setting).collect()))
    }

    /// Whether the node knows each command in `names` (`COMMAND INFO`), in that order. A subcommand is written
    /// `cluster|slots`.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn knows(&self, names: &[&str]) -> Result<Option<Vec<bool>>, CacheError> {
        let info = names
            .iter()
            .fold(Command::read("COMMAND").arg("INFO"), |info, name| info.arg(*name));
        let Some(reply) = self.ask_if_allowed(&info).await? else {
            return Ok(None);
        };
        let known = reply.into_array()?;
        Ok(Some(
            known
                .iter()
                .map(|command| matches!(command, Reply::Array(_) | Reply::Map(_)))
                .collect(),
        ))
    }

    /// The user of this connection (`ACL WHOAMI`).
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn user(&self) -> Result<Option<String>, CacheError> {
        let who = Command::read("ACL").arg("WHOAMI");
        let reply = self.ask_if_allowed(&who).await?;
        Ok(reply.and_then(|reply| reply.as_text().map(str::to_owned)))
    }

    /// Whether `user` may run `command`, without running it (`ACL DRYRUN`). `None` if the server cannot be asked.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn may(&self, user: &str, command: &[&str]) -> Result<Option<Permission>, CacheError> {
        let dry_run = Command::read("ACL").arg("DRYRUN").arg(user);
        let dry_run = command.iter().fold(dry_run, |dry_run, part| dry_run.arg(*part));
        let Some(reply) = self.ask_if_allowed(&dry_run).await? else {
            return Ok(None);
        };
        Ok(match reply.as_text() {
            Some("OK") => Some(Permission::Allowed),
            Some(words) => Some(Permission::Refused(words.to_owned())),
            None => None,
        })
    }

    /// Whether this connection may run `command`. Runs it to find out, so choose a harmless one. A refusal for
    /// another reason than missing rights counts as allowed.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn tries(&self, name: &'static str, arguments: &[&str]) -> Result<Permission, CacheError> {
        let command = arguments
            .iter()
            .fold(Command::read(name), |command, argument| command.arg(*argument));
        let reply = self.ask(&[&command]).await?.into_iter().next();
        Ok(match reply {
            Some(Reply::Error(refusal)) if refusal.code == "NOPERM" => {
                Permission::Refused(from_server(&refusal, name).to_string())
            }
            _ => Permission::Allowed,
        })
    }

    /// The reply to a command that this type has no method for, such as `LATENCY DOCTOR`. The caller answers for what
    /// it does: choose commands that read. A node of a cluster refuses keys of other nodes.
    ///
    /// # Errors
    ///
    /// If it does not answer within the client's timeout, or refuses.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn query(&self, name: &str, arguments: &[&[u8]]) -> Result<Reply, CacheError> {
        let command = arguments
            .iter()
            .fold(Command::named(name, Effect::Read), |command, argument| {
                command.arg(*argument)
            });
        let mut replies = self.ask(&[&command]).await?.into_iter();
        accept(replies.next().unwrap_or(Reply::Nil), name)
    }

    /// The reply to `command`; `None` if the user may not run it or the server does not know it.
    pub(super) async fn ask_if_allowed(&self, command: &Command<'_>) -> Result<Option<Reply>, CacheError> {
        let reply = self
            .ask(&[command])
            .await?
            .into_iter()
            .next()
            .unwrap_or(Reply::Nil);
        unless_refused(reply, command.name())
    }
}

/// Reads the reply to `TIME`: seconds since 1970, and microseconds.
fn time_of(parts: &[Reply]) -> Option<Duration> {
    let number = |part: usize| parts.get(part)?.as_text()?.parse().ok();
    let (seconds, micros) = (Duration::from_secs(number(0)?), Duration::from_micros(number(1)?));
    seconds.checked_add(micros)
}

/// `reply`; `None` if the user may not do it or the server does not know the command.
pub(super) fn unless_refused(reply: Reply, command: &str) -> Result<Option<Reply>, CacheError> {
    match accept(reply, command) {
        Ok(reply) => Ok(Some(reply)),
        Err(CacheError::Denied { .. }) => Ok(None),
        Err(CacheError::Rejected { code, detail }) if code == "ERR" && is_unknown(&detail) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a refusal means that the command does not exist, at all or on this service.
fn is_unknown(detail: &str) -> bool {
    let detail = detail.to_ascii_lowercase();
    [
        "unknown",
        "not supported",
        "not allowed",
        "disabled",
        "wrong number of arguments",
        "not found",
    ]
    .iter()
    .any(|words| detail.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::ServerError;
    use crate::reply::foreign::reply;

    fn refused(code: &str, detail: &str) -> Result<Option<Reply>, CacheError> {
        let error = ServerError {
            code: code.into(),
            detail: detail.into(),
        };
        unless_refused(Reply::Error(Box::new(error)), "CONFIG")
    }

    #[test]
    fn refused_query_is_none_and_failure_is_an_error() {
        assert_eq!(refused("NOPERM", "no permissions").unwrap(), None);
        assert_eq!(refused("ERR", "unknown command 'CONFIG'").unwrap(), None);
        assert_eq!(refused("ERR", "Unknown subcommand").unwrap(), None);
        assert!(refused("LOADING", "wait").is_err());
        assert!(refused("ERR", "something else").is_err());
        assert_eq!(
            unless_refused(Reply::Int(1), "TIME").unwrap(),
            Some(Reply::Int(1))
        );
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_time_reply_yields_a_time_or_none(
            parts in proptest::collection::vec(reply(&["1795278008", "18446744073709551615"]), 0..4),
        ) {
            let numbers = parts.iter().take(2).filter_map(|part| part.as_text()?.parse::<u64>().ok());
            let time = time_of(&parts);
            proptest::prop_assert!(time.is_none() || numbers.count() == 2);
        }
    }
}
