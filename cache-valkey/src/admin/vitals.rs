//! How a node does, by its own account (`INFO`), each number by its type.
//!
//! Not in here: what the numbers mean together, and what is wrong with them.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use cache_core::CacheError;

use super::{Member, Role};
use crate::command::Command;

/// How a node does. What it does not tell is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Vitals {
    /// What it takes itself for.
    pub role: Option<Role>,
    /// What it calls itself, such as `valkey`.
    pub server: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// For how long it has been running.
    pub uptime: Option<Duration>,
    /// Connections of clients.
    pub clients: Option<u64>,
    /// Commands in the last second or so, by its own reckoning.
    pub operations_per_second: Option<u64>,
    /// Commands since its start.
    pub commands: Option<u64>,
    /// Reads that found a key, since its start.
    pub hits: Option<u64>,
    /// Reads that found none, since its start.
    pub misses: Option<u64>,
    /// Keys that were evicted, since its start.
    pub evicted: Option<u64>,
    /// Keys whose life ended, since its start.
    pub expired: Option<u64>,
    /// Keys, in all databases.
    pub keys: Option<u64>,
    /// Those of the keys that have an end of life.
    pub keys_with_life: Option<u64>,
    /// The memory.
    pub memory: Memory,
    /// What its main thread has worked since its start, in user and in system mode.
    pub main_thread: Option<Duration>,
    /// How it stands to the nodes that copy it, or to the one that it copies.
    pub replication: Replication,
    /// Keys in the table of those that clients are told about.
    pub tracked_keys: Option<u64>,
}

/// What a node says of its memory.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Memory {
    /// In use, in bytes.
    pub used: Option<u64>,
    /// What it takes of the machine's memory, in bytes.
    pub resident: Option<u64>,
    /// The limit in bytes; 0 is none.
    pub limit: Option<u64>,
    /// What it does at the limit, such as `noeviction` or `allkeys-lru`.
    pub policy: Option<String>,
    /// `resident` by `used`, by its own reckoning.
    pub fragmentation: Option<f64>,
}

/// How a node stands to the nodes that copy it, or to the one that it copies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replication {
    /// Of a replica: whether it is connected to its primary.
    pub linked: Option<bool>,
    /// Of a replica: whether it is loading all of its primary's keys.
    pub copying: Option<bool>,
    /// Of a replica: since when its primary has been silent.
    pub silence: Option<Duration>,
    /// How far it is in the stream of changes.
    pub offset: Option<u64>,
    /// Of a primary: those that copy it, as it sees them.
    pub replicas: Vec<Copying>,
}

/// A replica, as its primary sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copying {
    /// Host and port, as it connected.
    pub address: String,
    /// Whether it follows the stream of changes.
    pub online: bool,
    /// How far it says it is.
    pub offset: Option<u64>,
    /// How long ago it last said so.
    pub lag: Option<Duration>,
}

impl Member {
    /// How it does (`INFO`); `None` where the user may not ask.
    ///
    /// # Errors
    ///
    /// Where it does not answer.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn vitals(&self) -> Result<Option<Vitals>, CacheError> {
        let reply = self.ask_if_allowed(&Command::read("INFO")).await?;
        Ok(reply
            .as_ref()
            .and_then(crate::reply::Reply::as_text)
            .map(Vitals::read))
    }
}

impl Vitals {
    /// What share of the reads found a key, since its start; `None` before the first read.
    #[must_use]
    pub fn hit_rate(&self) -> Option<f64> {
        ratio(self.hits?, self.misses?)
    }

    fn read(text: &str) -> Self {
        let fields = Fields::read(text);
        let seconds = |name| fields.get(name).map(Duration::from_secs);
        let valkey = fields.text("valkey_version");
        let role = match fields.text("role").as_deref() {
            Some("master") => Some(Role::Primary),
            Some("slave") => Some(Role::Replica),
            _ => None,
        };
        let (keys, keys_with_life) = fields.keys();
        let counted = fields.has("role").then_some(());
        Self {
            role,
            server: Some(if valkey.is_some() { "valkey" } else { "redis" }.to_owned())
                .filter(|_| valkey.is_some() || fields.has("redis_version")),
            version: valkey.or_else(|| fields.text("redis_version")),
            uptime: seconds("uptime_in_seconds"),
            clients: fields.get("connected_clients"),
            operations_per_second: fields.get("instantaneous_ops_per_sec"),
            commands: fields.get("total_commands_processed"),
            hits: fields.get("keyspace_hits"),
            misses: fields.get("keyspace_misses"),
            evicted: fields.get("evicted_keys"),
            expired: fields.get("expired_keys"),
            keys: counted.map(|()| keys),
            keys_with_life: counted.map(|()| keys_with_life),
            memory: Memory {
                used: fields.get("used_memory"),
                resident: fields.get("used_memory_rss"),
                limit: fields.get("maxmemory"),
                policy: fields.text("maxmemory_policy"),
                fragmentation: fields.get("mem_fragmentation_ratio"),
            },
            main_thread: fields
                .cpu("used_cpu_user_main_thread")
                .zip(fields.cpu("used_cpu_sys_main_thread"))
                .map(|(user, system)| user.saturating_add(system)),
            replication: Replication {
                linked: fields.text("master_link_status").map(|status| status == "up"),
                copying: fields
                    .get::<u8>("master_sync_in_progress")
                    .map(|copies| copies != 0),
                silence: seconds("master_last_io_seconds_ago"),
                offset: match role {
                    Some(Role::Replica) => fields.get("slave_repl_offset"),
                    _ => fields.get("master_repl_offset"),
                },
                replicas: fields.replicas(),
            },
            tracked_keys: fields.get("tracking_total_keys"),
        }
    }
}

/// The share of `yes` in both; `None` where there is neither.
#[expect(clippy::cast_precision_loss, reason = "a share of counts far below 2^52")]
fn ratio(yes: u64, no: u64) -> Option<f64> {
    let all = yes.saturating_add(no);
    (all > 0).then(|| yes as f64 / all as f64)
}

/// The lines `name:value` of an `INFO`.
struct Fields<'a>(HashMap<&'a str, &'a str>);

impl<'a> Fields<'a> {
    fn read(text: &'a str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(|line| line.split_once(':')).collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|text| text.trim().to_owned())
    }

    /// A number; one below 0 is how servers say that there is none.
    fn get<T: FromStr>(&self, name: &str) -> Option<T> {
        self.0.get(name)?.trim().parse().ok()
    }

    fn cpu(&self, name: &str) -> Option<Duration> {
        let seconds: f64 = self.get(name)?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// Keys, and keys with an end of life, of all databases: `db0:keys=5,expires=2,avg_ttl=0`.
    fn keys(&self) -> (u64, u64) {
        let databases = self.0.iter().filter(|(name, _)| {
            let number = name.strip_prefix("db");
            number.is_some_and(|number| number.parse::<u32>().is_ok())
        });
        databases.fold((0, 0), |(keys, with_life), (_, value)| {
            let part = |name| part(value, name).and_then(|text| text.parse::<u64>().ok());
            (
                keys.saturating_add(part("keys").unwrap_or(0)),
                with_life.saturating_add(part("expires").unwrap_or(0)),
            )
        })
    }

    /// `slave0:ip=127.0.0.1,port=6380,state=online,offset=5,lag=0`, and so on.
    fn replicas(&self) -> Vec<Copying> {
        let lines = (0..).map_while(|number| self.0.get(format!("slave{number}").as_str()));
        lines
            .map(|line| Copying {
                address: format!(
                    "{}:{}",
                    part(line, "ip").unwrap_or_default(),
                    part(line, "port").unwrap_or_default()
                ),
                online: part(line, "state") == Some("online"),
                offset: part(line, "offset").and_then(|text| text.parse().ok()),
                lag: part(line, "lag")
                    .and_then(|text| text.parse().ok())
                    .map(Duration::from_secs),
            })
            .collect()
    }
}

/// The value of `name` in `name=value,name=value`.
fn part<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let mut parts = line.trim().split(',').filter_map(|part| part.split_once('='));
    parts.find(|(own, _)| *own == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use crate::reply::foreign::mangled;

    use super::*;

    const PRIMARY: &str = "\
# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.0.1\r\nuptime_in_seconds:90\r\n\
# Clients\r\nconnected_clients:3\r\n\
# Memory\r\nused_memory:1000\r\nused_memory_rss:1500\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n\
mem_fragmentation_ratio:1.50\r\n\
# Stats\r\nkeyspace_hits:3\r\nkeyspace_misses:1\r\n\
# Replication\r\nrole:master\r\nslave0:ip=127.0.0.1,port=7001,state=online,offset=42,lag=1,type=replica\r\n\
slave1:ip=127.0.0.1,port=7002,state=wait_bgsave,offset=0,lag=0\r\nmaster_repl_offset:50\r\n\
# CPU\r\nused_cpu_sys_main_thread:0.25\r\nused_cpu_user_main_thread:0.5\r\n\
# Keyspace\r\ndb0:keys=5,expires=2,avg_ttl=0\r\ndb3:keys=1,expires=1,avg_ttl=9\r\n";

    #[test]
    fn a_primary_tells_of_itself_and_of_its_replicas() {
        let vitals = Vitals::read(PRIMARY);
        assert_eq!(vitals.role, Some(Role::Primary));
        assert_eq!(vitals.server.as_deref(), Some("valkey"));
        assert_eq!(vitals.version.as_deref(), Some("8.0.1"));
        assert_eq!((vitals.keys, vitals.keys_with_life), (Some(6), Some(3)));
        assert_eq!(vitals.hit_rate(), Some(0.75));
        assert_eq!(vitals.memory.fragmentation, Some(1.5));
        assert_eq!(vitals.main_thread, Some(Duration::from_millis(750)));
        assert_eq!(vitals.replication.offset, Some(50));
        let seen: Vec<_> = vitals
            .replication
            .replicas
            .iter()
            .map(|replica| (replica.address.as_str(), replica.online, replica.offset))
            .collect();
        assert_eq!(
            seen,
            [
                ("127.0.0.1:7001", true, Some(42)),
                ("127.0.0.1:7002", false, Some(0))
            ]
        );
    }

    #[test]
    fn a_replica_that_lost_its_primary_says_so() {
        let vitals = Vitals::read(
            "role:slave\r\nmaster_link_status:down\r\nmaster_last_io_seconds_ago:-1\r\n\
             master_sync_in_progress:0\r\nslave_repl_offset:7\r\nmaster_repl_offset:9\r\nredis_version:7.0.15\r\n",
        );
        assert_eq!(vitals.replication.linked, Some(false));
        assert_eq!(vitals.replication.silence, None);
        assert_eq!(vitals.replication.offset, Some(7));
        assert_eq!(vitals.server.as_deref(), Some("redis"));
        assert_eq!(vitals.keys, Some(0));
    }

    #[test]
    fn what_is_not_told_is_nothing_and_no_zero() {
        assert_eq!(Vitals::read(""), Vitals::default());
        assert_eq!(Vitals::default().hit_rate(), None);
    }

    #[test]
    fn sums_beyond_what_can_be_are_the_most_that_can_be() {
        let vitals = Vitals::read(
            "role:master\r\nused_cpu_user_main_thread:1.8446744073709e19\r\n\
             used_cpu_sys_main_thread:1.8446744073709e19\r\n\
             db0:keys=18446744073709551615,expires=18446744073709551615\r\ndb1:keys=2,expires=2\r\n",
        );
        assert_eq!(
            (vitals.keys, vitals.keys_with_life),
            (Some(u64::MAX), Some(u64::MAX))
        );
        assert_eq!(vitals.main_thread, Some(Duration::MAX));
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_server_tells_of_itself_is_read(
            text in mangled(PRIMARY),
            noise in ".{0,200}",
        ) {
            for text in [text, noise] {
                let vitals = Vitals::read(&text);
                let rate = vitals.hit_rate();
                proptest::prop_assert!(rate.is_none_or(|rate| (0.0..=1.0).contains(&rate)));
            }
        }
    }
}
