//! A command as somebody would send it, for dry runs: servers look at the number of arguments and at where keys are.

/// `command` with arguments, on `key` where it takes one.
pub(super) fn of(command: &str, key: &str) -> Vec<String> {
    let digest = "0".repeat(40);
    let arguments: &[&str] = match command {
        "hello" => &["3"],
        "auth" => &["user", "password"],
        "client|setinfo" => &["lib-name", "x"],
        "client|tracking" => &["on"],
        "client|caching" => &["yes"],
        "select" => &["1"],
        "scan" | "clusterscan" => &["0"],
        "set" | "delifeq" => &[key, "value"],
        "incrby" => &[key, "1"],
        "pexpire" => &[key, "1000"],
        "eval" => &["return 1", "1", key],
        "evalsha" => &[&digest, "1", key],
        "command|info" => &["get"],
        "config|get" => &["maxmemory"],
        "acl|getuser" | "acl|deluser" => &["somebody"],
        "acl|setuser" => &["somebody", "on"],
        "acl|dryrun" => &["somebody", "get", key],
        "keys" => &["*"],
        "replicaof" => &["no", "one"],
        "swapdb" => &["0", "1"],
        "client|kill" => &["id", "1"],
        "script|flush" | "flushall" | "flushdb" | "shutdown" | "monitor" | "info" | "dbsize" | "time"
        | "role" | "ping" | "asking" | "readonly" | "randomkey" | "acl|list" | "acl|users" | "acl|save"
        | "acl|whoami" | "acl|cat" | "acl|log" | "client|list" | "config|rewrite" | "cluster|slots"
        | "cluster|info" | "cluster|myid" | "cluster|nodes" | "cluster|shards" => &[],
        _ => &[key],
    };
    let words = command.split('|').chain(arguments.iter().copied());
    words.map(str::to_owned).collect()
}
