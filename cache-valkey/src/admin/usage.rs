//! What clients have done with a node since its start: commands, refusals, databases (`INFO`).
//!
//! Not in here: how the node does ([`NodeInfo`](super::NodeInfo)).

use std::collections::BTreeMap;

use cache_core::CacheError;

use super::Member;
use crate::command::Command;
use crate::reply::Reply;

/// What clients have done with a node since its start, or since its statistics were reset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// How often each command was called, by its name in lower case, a subcommand as `config|get`.
    pub commands: BTreeMap<String, u64>,
    /// How often the node answered with each error, by its code, such as `CROSSSLOT`; from Redis 6.2 on.
    pub errors: BTreeMap<String, u64>,
    /// The databases that hold keys, with the number of keys.
    pub databases: BTreeMap<u32, u64>,
}

impl Member {
    /// What clients have done with it (`INFO all`); `None` if the user may not ask.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn usage(&self) -> Result<Option<Usage>, CacheError> {
        let reply = self.ask_if_allowed(&Command::read("INFO").arg("all")).await?;
        Ok(reply.as_ref().and_then(Reply::as_text).map(Usage::read))
    }
}

impl Usage {
    fn read(text: &str) -> Self {
        let mut usage = Self::default();
        for line in text.lines() {
            let Some((name, fields)) = line.split_once(':') else {
                continue;
            };
            let count = |field: &str| {
                let mut fields = fields.trim().split(',').filter_map(|part| part.split_once('='));
                fields.find(|(name, _)| *name == field)?.1.parse::<u64>().ok()
            };
            if let Some(command) = name.strip_prefix("cmdstat_") {
                usage
                    .commands
                    .insert(command.to_ascii_lowercase(), count("calls").unwrap_or(0));
            } else if let Some(code) = name.strip_prefix("errorstat_") {
                usage.errors.insert(code.to_owned(), count("count").unwrap_or(0));
            } else if let Some(number) = name.strip_prefix("db").and_then(|number| number.parse().ok()) {
                usage.databases.insert(number, count("keys").unwrap_or(0));
            }
        }
        usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_errors_and_databases_are_read() {
        let usage = Usage::read(
            "# Commandstats\r\ncmdstat_get:calls=12,usec=7,usec_per_call=0.58\r\n\
             cmdstat_config|get:calls=1,usec=3\r\nerrorstat_CROSSSLOT:count=2\r\n\
             # Keyspace\r\ndb0:keys=5,expires=2,avg_ttl=0\r\ndb_other:keys=1\r\n",
        );
        let of = |name: &str| usage.commands.get(name).copied();
        assert_eq!(
            (of("get"), of("config|get"), of("set")),
            (Some(12), Some(1), None)
        );
        assert_eq!(usage.errors.get("CROSSSLOT"), Some(&2));
        assert_eq!(usage.databases, BTreeMap::from([(0, 5)]));
    }
}
