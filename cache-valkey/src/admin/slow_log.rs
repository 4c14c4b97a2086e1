//! The slow calls of a node (`SLOWLOG`): the command, never its arguments.

use std::time::Duration;

use cache_core::CacheError;

use super::Member;
use crate::command::Command;
use crate::reply::Reply;

/// A call that took long. Its keys and values are never read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowCall {
    /// Its number on the node; later calls have higher numbers.
    pub id: u64,
    /// When it ran, since 1970-01-01 00:00 UTC by the node's clock.
    pub at: Duration,
    /// How long it took.
    pub took: Duration,
    /// The name of the command, in capitals.
    pub command: String,
    /// The number of arguments after the name, as far as the log kept them.
    pub arguments: usize,
    /// The caller's host and port.
    pub client: String,
}

impl Member {
    /// The latest slow calls, newest first, at most `at_most`. `None` if the user may not ask.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn slow_calls(&self, at_most: u32) -> Result<Option<Vec<SlowCall>>, CacheError> {
        let get = Command::read("SLOWLOG").arg("GET").int(i64::from(at_most));
        let Some(reply) = self.ask_if_allowed(&get).await? else {
            return Ok(None);
        };
        Ok(Some(
            reply
                .into_array()?
                .into_iter()
                .filter_map(SlowCall::read)
                .collect(),
        ))
    }
}

impl SlowCall {
    /// `[id, at, micros, [command, argument...], client, name]`.
    fn read(reply: Reply) -> Option<Self> {
        let mut parts = reply.into_array().ok()?.into_iter();
        let mut count = || parts.next()?.into_count().ok();
        let (id, at, micros) = (count()?, count()?, count()?);
        let call = parts.next()?.into_array().ok()?;
        let client = parts.next();
        let name = call.first().and_then(Reply::as_text).unwrap_or_default();
        Some(Self {
            id,
            at: Duration::from_secs(at),
            took: Duration::from_micros(micros),
            command: command_name(name),
            arguments: call.len().saturating_sub(1),
            client: client
                .as_ref()
                .and_then(Reply::as_text)
                .unwrap_or_default()
                .to_owned(),
        })
    }
}

/// `name` in capitals. Text that does not look like a command name may be anything, so it is not shown.
fn command_name(name: &str) -> String {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._|-".contains(&byte);
    if !name.is_empty() && name.len() <= 32 && name.bytes().all(is_name) {
        name.to_ascii_uppercase()
    } else {
        "?".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_call_is_shown_without_its_arguments() {
        let text = |text: &str| Reply::Bulk(text.to_owned().into());
        let entry = Reply::Array(vec![
            Reply::Int(14),
            Reply::Int(1_700_000_000),
            Reply::Int(12_345),
            Reply::Array(vec![text("set"), text("user:jo"), text("hunter2")]),
            text("127.0.0.1:5001"),
            text(""),
        ]);
        let call = SlowCall::read(entry).unwrap();
        assert_eq!((call.id, call.command.as_str(), call.arguments), (14, "SET", 2));
        assert_eq!(call.took, Duration::from_micros(12_345));
        let shown = format!("{call:?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("user:jo"),
            "{shown}"
        );
    }

    #[test]
    fn text_that_is_no_command_name_is_not_shown() {
        assert_eq!(command_name("hset"), "HSET");
        assert_eq!(command_name("my secret"), "?");
        assert_eq!(command_name(""), "?");
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_log_entries_never_show_an_argument(
            reply in crate::reply::foreign::reply(&["hunter2 secret", "set"]),
            head in proptest::collection::vec(0..i64::MAX, 3),
            call in proptest::collection::vec(crate::reply::foreign::reply(&["hunter2 secret", "get"]), 0..4),
        ) {
            let mut entry: Vec<_> = head.into_iter().map(Reply::Int).collect();
            entry.push(Reply::Array(call));
            for reply in [reply, Reply::Array(entry)] {
                let shown = SlowCall::read(reply).map(|call| call.command);
                proptest::prop_assert!(shown.is_none_or(|command| !command.to_lowercase().contains("hunter2 ")));
            }
        }
    }
}
