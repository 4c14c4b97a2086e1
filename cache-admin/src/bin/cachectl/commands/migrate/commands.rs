//! What takes the place of each command, as the table of MIGRATION.md has it.

/// What takes the place of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A method of the contract, or a command that clients send by themselves.
    Contract,
    /// `cachectl` in place of code in the service.
    Cachectl,
    /// A command of a type that is no string.
    OtherType,
    /// A script.
    Script,
    /// A script or a conditional call in its place.
    Transaction,
    /// Not here: the old client stays for it.
    OldClient,
    /// It has no row.
    NoRow,
}

const CONTRACT: &[&str] = &[
    "decr",
    "decrby",
    "del",
    "delifeq",
    "exists",
    "expire",
    "get",
    "getdel",
    "getex",
    "incr",
    "incrby",
    "mget",
    "mset",
    "persist",
    "pexpire",
    "pexpireat",
    "expireat",
    "psetex",
    "pttl",
    "set",
    "setex",
    "setnx",
    "ttl",
    "unlink",
];

/// What clients, operators and this tool send; no service asks for it.
const HOUSEKEEPING: &[&str] = &[
    "acl",
    "asking",
    "auth",
    "bgrewriteaof",
    "bgsave",
    "client",
    "cluster",
    "clusterscan",
    "command",
    "commandlog",
    "config",
    "dbsize",
    "debug",
    "echo",
    "failover",
    "hello",
    "info",
    "lastsave",
    "latency",
    "memory",
    "module",
    "object",
    "ping",
    "psync",
    "quit",
    "randomkey",
    "readonly",
    "readwrite",
    "replconf",
    "replicaof",
    "reset",
    "role",
    "save",
    "select",
    "shutdown",
    "slaveof",
    "slowlog",
    "swapdb",
    "sync",
    "time",
    "type",
];

const OLD_CLIENT: &[&str] = &[
    "blmove",
    "blmpop",
    "blpop",
    "brpop",
    "brpoplpush",
    "bzmpop",
    "bzpopmax",
    "bzpopmin",
    "monitor",
    "psubscribe",
    "publish",
    "pubsub",
    "punsubscribe",
    "spublish",
    "ssubscribe",
    "subscribe",
    "sunsubscribe",
    "unsubscribe",
    "wait",
    "waitaof",
];

const SCRIPTS: &[&str] = &[
    "eval",
    "eval_ro",
    "evalsha",
    "evalsha_ro",
    "fcall",
    "fcall_ro",
    "function",
    "script",
];

const TRANSACTIONS: &[&str] = &["discard", "exec", "multi", "unwatch", "watch"];

/// Commands of lists, sets, sorted sets, hashes, streams, and what is kept in strings as if it were a type.
const OTHER_TYPES: &[&str] = &[
    "bitcount",
    "bitfield",
    "bitfield_ro",
    "bitop",
    "bitpos",
    "getbit",
    "setbit",
    "lindex",
    "linsert",
    "llen",
    "lmove",
    "lmpop",
    "lpop",
    "lpos",
    "lpush",
    "lpushx",
    "lrange",
    "lrem",
    "lset",
    "ltrim",
    "rpop",
    "rpoplpush",
    "rpush",
    "rpushx",
    "sadd",
    "scard",
    "sdiff",
    "sdiffstore",
    "sinter",
    "sintercard",
    "sinterstore",
    "sismember",
    "smembers",
    "smismember",
    "smove",
    "spop",
    "srandmember",
    "srem",
    "sscan",
    "sunion",
    "sunionstore",
];

/// Commands that take several keys, which a cluster refuses unless all of them are in one slot.
pub(super) const SEVERAL_KEYS: &[&str] = &[
    "bitop",
    "blmove",
    "brpoplpush",
    "copy",
    "eval",
    "evalsha",
    "exec",
    "fcall",
    "lmove",
    "mset",
    "msetnx",
    "mget",
    "pfcount",
    "pfmerge",
    "rename",
    "renamenx",
    "rpoplpush",
    "sdiff",
    "sdiffstore",
    "sinter",
    "sinterstore",
    "smove",
    "sunion",
    "sunionstore",
    "zdiffstore",
    "zinterstore",
    "zunionstore",
    "del",
    "unlink",
    "exists",
];

/// Those of them that the client splits by slot itself.
pub(super) const SPLIT: &[&str] = &["del", "exists", "mget", "mset", "unlink"];

/// What takes the place of `command`, which is in lower case.
pub(super) fn place(command: &str) -> Place {
    let has = |list: &[&str]| list.contains(&command);
    if has(CONTRACT) || has(HOUSEKEEPING) {
        Place::Contract
    } else if has(&["keys", "scan", "flushdb", "flushall"]) {
        Place::Cachectl
    } else if has(OLD_CLIENT) {
        Place::OldClient
    } else if has(SCRIPTS) {
        Place::Script
    } else if has(TRANSACTIONS) {
        Place::Transaction
    } else if has(OTHER_TYPES) || is_of_a_family(command) {
        Place::OtherType
    } else {
        Place::NoRow
    }
}

/// Hashes, sorted sets, streams, places and estimates have a beginning in common.
fn is_of_a_family(command: &str) -> bool {
    let begins = |prefix: &str| command.starts_with(prefix);
    (begins("h") || begins("z") || begins("x") || begins("geo") || begins("pf")) && !command.contains('.')
}

impl Place {
    /// The kind of its note, and what to do.
    pub(super) const fn advice(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::Contract => return None,
            Self::Cachectl => (
                "commands",
                "a service no longer walks over keys: `cachectl invalidate`, or the engine of cache-admin, works on all primaries",
            ),
            Self::OtherType => (
                "types",
                "the contract stores strings: keep the value as JSON under one key, or send the command by `stack.valkey()`",
            ),
            Self::Script => (
                "commands",
                "send it by `stack.valkey()` and `script(..)`, with every key named",
            ),
            Self::Transaction => (
                "commands",
                "connections are shared, so none can hold a transaction: a script, `compare_and_set` or `incr_by` takes its place",
            ),
            Self::OldClient => (
                "commands",
                "not here: keep the old client for it; both can use one server",
            ),
            Self::NoRow => (
                "commands",
                "has no row in MIGRATION.md: send it by `stack.valkey()` and `command(..)`, with its effect and its keys",
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_its_place() {
        for (command, expected) in [
            ("get", Place::Contract),
            ("hello", Place::Contract),
            ("hset", Place::OtherType),
            ("lpush", Place::OtherType),
            ("scan", Place::Cachectl),
            ("blpop", Place::OldClient),
            ("evalsha", Place::Script),
            ("multi", Place::Transaction),
            ("append", Place::NoRow),
            ("json.set", Place::NoRow),
        ] {
            assert_eq!(place(command), expected, "{command}");
        }
    }

    /// The rows of MIGRATION.md that the advice speaks of.
    #[test]
    fn what_takes_the_place_of_a_command_is_in_the_page() {
        let page = include_str!("../../../../../../MIGRATION.md");
        let table: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).collect();
        let has = |word: &str| table.iter().any(|line| line.contains(word));
        for word in [
            "`GET`",
            "`SET`",
            "`SETEX`",
            "`SETNX`",
            "`DEL`",
            "`UNLINK`",
            "`EXISTS`",
            "`MGET`",
            "`MSET`",
            "`GETDEL`",
            "`GETEX`",
            "`INCR`",
            "`INCRBY`",
            "`DECR`",
            "`EXPIRE`",
            "`PERSIST`",
            "`TTL`",
            "`KEYS`",
            "`SCAN`",
            "`FLUSHDB`",
            "lists, sets, hashes, streams",
            "`EVALSHA`",
            "`MULTI`",
            "blocking commands, pub/sub, `MONITOR`",
        ] {
            assert!(has(word), "{word}");
        }
    }
}
