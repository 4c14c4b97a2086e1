//! The state of a node as it reports it (`INFO`), with a typed field for each number.
//!
//! Not in here: what the numbers mean together, and what is wrong with them.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use cache_core::CacheError;

use super::{Member, Role};
use crate::command::Command;

/// The state of a node. Numbers that it does not report are `None`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Its role, by its own account.
    pub role: Option<Role>,
    /// Its product name, such as `valkey`.
    pub server: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The time since it started.
    pub uptime: Option<Duration>,
    /// Connected clients.
    pub clients: Option<u64>,
    /// Commands per second over the last second or so, as the node measures it.
    pub operations_per_second: Option<u64>,
    /// Commands since its start.
    pub commands: Option<u64>,
    /// Reads that found a key, since its start.
    pub hits: Option<u64>,
    /// Reads that found none, since its start.
    pub misses: Option<u64>,
    /// Keys that were evicted, since its start.
    pub evicted: Option<u64>,
    /// Keys whose TTL has ended, since its start.
    pub expired: Option<u64>,
    /// Keys in all databases.
    pub keys: Option<u64>,
    /// Keys that have a TTL.
    pub keys_with_ttl: Option<u64>,
    /// Its memory.
    pub memory: Memory,
    /// CPU time of its main thread since its start, user and system.
    pub main_thread: Option<Duration>,
    /// Its replication state.
    pub replication: Replication,
    /// Keys in the table of client tracking.
    pub tracked_keys: Option<u64>,
}

/// The memory of a node.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Memory {
    /// In use, in bytes.
    pub used: Option<u64>,
    /// The resident memory, in bytes.
    pub resident: Option<u64>,
    /// The limit in bytes; 0 means no limit.
    pub limit: Option<u64>,
    /// The eviction policy, such as `noeviction` or `allkeys-lru`.
    pub policy: Option<String>,
    /// `resident` divided by `used`, as the node calculates it.
    pub fragmentation: Option<f64>,
}

/// The replication state of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replication {
    /// On a replica: whether it is connected to its primary.
    pub linked: Option<bool>,
    /// On a replica: whether a full synchronization is running.
    pub copying: Option<bool>,
    /// On a replica: the time since it last heard from its primary.
    pub silence: Option<Duration>,
    /// The replication offset.
    pub offset: Option<u64>,
    /// On a primary: its replicas, as it sees them.
    pub replicas: Vec<ReplicaInfo>,
}

/// A replica as its primary sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaInfo {
    /// Host and port of its connection.
    pub address: String,
    /// Whether it receives the replication stream.
    pub online: bool,
    /// The offset that it has confirmed.
    pub offset: Option<u64>,
    /// The time since its last confirmation.
    pub lag: Option<Duration>,
}

impl Member {
    /// The state of the node (`INFO`); `None` if the user may not ask.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn info(&self) -> Result<Option<NodeInfo>, CacheError> {
        let reply = self.ask_if_allowed(&Command::read("INFO")).await?;
        Ok(reply
            .as_ref()
            .and_then(crate::reply::Reply::as_text)
            .map(NodeInfo::read))
    }
}

impl NodeInfo {
    /// The share of reads that found a key, since its start; `None` before the first read.
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
        let (keys, keys_with_ttl) = fields.keys();
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
            keys_with_ttl: counted.map(|()| keys_with_ttl),
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

/// The share of `yes` in both; `None` if both are 0.
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

    /// A number. Servers report a negative one for "none".
    fn get<T: FromStr>(&self, name: &str) -> Option<T> {
        self.0.get(name)?.trim().parse().ok()
    }

    fn cpu(&self, name: &str) -> Option<Duration> {
        let seconds: f64 = self.get(name)?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// Keys, and keys with a TTL, of all databases: `db0:keys=5,expires=2,avg_ttl=0`.
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
    fn replicas(&self) -> Vec<ReplicaInfo> {
        let lines = (0..).map_while(|number| self.0.get(format!("slave{number}").as_str()));
        lines
            .map(|line| ReplicaInfo {
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
    fn primary_reports_itself_and_its_replicas() {
        let info = NodeInfo::read(PRIMARY);
        assert_eq!(info.role, Some(Role::Primary));
        assert_eq!(info.server.as_deref(), Some("valkey"));
        assert_eq!(info.version.as_deref(), Some("8.0.1"));
        assert_eq!((info.keys, info.keys_with_ttl), (Some(6), Some(3)));
        assert_eq!(info.hit_rate(), Some(0.75));
        assert_eq!(info.memory.fragmentation, Some(1.5));
        assert_eq!(info.main_thread, Some(Duration::from_millis(750)));
        assert_eq!(info.replication.offset, Some(50));
        let seen: Vec<_> = info
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
    fn replica_reports_its_lost_primary() {
        let info = NodeInfo::read(
            "role:slave\r\nmaster_link_status:down\r\nmaster_last_io_seconds_ago:-1\r\n\
             master_sync_in_progress:0\r\nslave_repl_offset:7\r\nmaster_repl_offset:9\r\nredis_version:7.0.15\r\n",
        );
        assert_eq!(info.replication.linked, Some(false));
        assert_eq!(info.replication.silence, None);
        assert_eq!(info.replication.offset, Some(7));
        assert_eq!(info.server.as_deref(), Some("redis"));
        assert_eq!(info.keys, Some(0));
    }

    #[test]
    fn missing_number_is_none_and_not_zero() {
        assert_eq!(NodeInfo::read(""), NodeInfo::default());
        assert_eq!(NodeInfo::default().hit_rate(), None);
    }

    #[test]
    fn overflowing_sums_saturate() {
        let info = NodeInfo::read(
            "role:master\r\nused_cpu_user_main_thread:1.8446744073709e19\r\n\
             used_cpu_sys_main_thread:1.8446744073709e19\r\n\
             db0:keys=18446744073709551615,expires=18446744073709551615\r\ndb1:keys=2,expires=2\r\n",
        );
        assert_eq!((info.keys, info.keys_with_ttl), (Some(u64::MAX), Some(u64::MAX)));
        assert_eq!(info.main_thread, Some(Duration::MAX));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_info_is_read_without_panic(
            text in mangled(PRIMARY),
            noise in ".{0,200}",
        ) {
            for text in [text, noise] {
                let info = NodeInfo::read(&text);
                let rate = info.hit_rate();
                proptest::prop_assert!(rate.is_none_or(|rate| (0.0..=1.0).contains(&rate)));
            }
        }
    }
}
