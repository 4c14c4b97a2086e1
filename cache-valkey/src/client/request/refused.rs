//! Refuses commands that a shared connection must not carry: they would block it, change its state, or break
//! the rule of one reply per command.
//!
//! Not in here: what a user may run. The server's ACL says that.

use cache_core::CacheError;

use super::invalid;

/// Why a command is refused, and what to do instead.
#[derive(Clone, Copy)]
struct Reason(&'static str);

const BLOCKS: Reason = Reason(
    "waits on the connection, which all calls share; use the form that does not block, or a connection of your own",
);
const TRANSACTION: Reason = Reason(
    "is about a transaction of one connection, which all calls share; use a script, which is one step",
);
const SUBSCRIBES: Reason =
    Reason("turns the connection, which all calls share, into a subscriber; use a connection of your own");
const LOGIN: Reason = Reason(
    "changes the user of the connection, which all calls share; set CACHE_USERNAME and CACHE_PASSWORD, or pass a \
     credentials source to the builder",
);
const DATABASE: Reason = Reason(
    "changes the database of the connection, which all calls share; set CACHE_DB, or make another client",
);
const STATE: Reason =
    Reason("changes the state of the connection, which all calls share; use a connection of your own");
const ENDS: Reason = Reason("ends or resets the connection, which all calls share; close the client instead");
const STREAM: Reason = Reason("turns the connection, which all calls share, into a replication link");

/// Refused with any arguments. In alphabetical order within each group.
const COMMANDS: &[(&[&str], Reason)] = &[
    (
        &[
            "BLMOVE",
            "BLMPOP",
            "BLPOP",
            "BRPOP",
            "BRPOPLPUSH",
            "BZMPOP",
            "BZPOPMAX",
            "BZPOPMIN",
            "WAIT",
            "WAITAOF",
        ],
        BLOCKS,
    ),
    (&["DISCARD", "EXEC", "MULTI", "UNWATCH", "WATCH"], TRANSACTION),
    (
        &[
            "MONITOR",
            "PSUBSCRIBE",
            "PUNSUBSCRIBE",
            "SSUBSCRIBE",
            "SUBSCRIBE",
            "SUNSUBSCRIBE",
            "UNSUBSCRIBE",
        ],
        SUBSCRIBES,
    ),
    (&["AUTH", "HELLO"], LOGIN),
    (&["SELECT"], DATABASE),
    (&["ASKING", "READONLY", "READWRITE"], STATE),
    (&["QUIT", "RESET"], ENDS),
    (&["PSYNC", "REPLCONF", "SYNC"], STREAM),
];

/// Refused with these subcommands.
const SUBCOMMANDS: &[(&str, &[&str], Reason)] = &[
    (
        "CLIENT",
        &[
            "CACHING",
            "CAPA",
            "IMPORT-SOURCE",
            "NO-EVICT",
            "NO-TOUCH",
            "REPLY",
            "SETINFO",
            "SETNAME",
            "TRACKING",
        ],
        STATE,
    ),
    ("SCRIPT", &["DEBUG"], STATE),
    ("CLUSTER", &["SYNCSLOTS"], STREAM),
];

/// Refused if a non-key argument is this option.
const OPTIONS: &[(&str, &str, Reason)] = &[("XREAD", "BLOCK", BLOCKS), ("XREADGROUP", "BLOCK", BLOCKS)];

/// Refuses commands that a shared connection must not carry. `arguments` yields an empty slice for each key.
pub(super) fn check<'a>(
    name: &str,
    arguments: &(impl Iterator<Item = &'a [u8]> + Clone),
) -> Result<(), CacheError> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        let hint =
            "is one word, such as HGETALL; the rest are arguments: command(\"CONFIG\", ..).arg(\"GET\")";
        return Err(invalid("command", hint));
    }
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    let refuse = |what: String, Reason(why): Reason| Err(invalid("command", format!("{what} {why}")));
    if let Some((_, reason)) = COMMANDS
        .iter()
        .find(|(names, _)| names.iter().any(|known| is(known)))
    {
        return refuse(name.to_ascii_uppercase(), *reason);
    }
    let first = arguments.clone().next().unwrap_or_default();
    for (command, subcommands, reason) in SUBCOMMANDS.iter().filter(|(command, ..)| is(command)) {
        if let Some(subcommand) = subcommands
            .iter()
            .find(|known| first.eq_ignore_ascii_case(known.as_bytes()))
        {
            return refuse(format!("{command} {subcommand}"), *reason);
        }
    }
    for (command, option, reason) in OPTIONS.iter().filter(|(command, ..)| is(command)) {
        if arguments
            .clone()
            .any(|argument| argument.eq_ignore_ascii_case(option.as_bytes()))
        {
            return refuse(format!("{command} with {option}"), *reason);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> Option<String> {
        let (name, arguments) = line.split_once(' ').unwrap_or((line, ""));
        let arguments = arguments.split_ascii_whitespace().map(str::as_bytes);
        check(name, &arguments).err().map(|error| error.to_string())
    }

    #[test]
    fn commands_that_disturb_other_calls_are_refused() {
        for line in [
            "BLPOP list 0",
            "blpop list 0",
            "WAIT 1 0",
            "MULTI",
            "Watch key",
            "SUBSCRIBE news",
            "MONITOR",
            "SELECT 1",
            "AUTH x",
            "HELLO 3",
            "RESET",
            "QUIT",
            "CLIENT REPLY OFF",
            "client tracking on",
            "CLIENT SETNAME x",
            "SCRIPT DEBUG YES",
            "XREAD COUNT 1 BLOCK 0 STREAMS s $",
            "xreadgroup GROUP g c block 0 STREAMS s >",
            "SYNC",
        ] {
            let said = refusal(line).unwrap_or_else(|| panic!("{line} was let through"));
            assert!(said.starts_with("invalid command: "), "{said}");
            let name = line.split(' ').next().unwrap().to_ascii_uppercase();
            assert!(said.contains(&name), "{said}");
        }
        for name in ["", "CONFIG GET", "GET\r\nDEL", "gét"] {
            assert!(check(name, &std::iter::empty()).is_err(), "{name:?}");
        }
    }

    #[test]
    fn harmless_commands_are_accepted() {
        for line in [
            "GET key",
            "LPOP list",
            "XREAD COUNT 1 STREAMS s 0",
            "CLIENT LIST",
            "CLIENT GETNAME",
            "SCRIPT LOAD x",
            "CLUSTER INFO",
            "CONFIG GET x",
            "PUBLISH SUBSCRIBE QUIT",
            "SET BLOCK MULTI",
            "BITCOUNT key",
            "JSON.GET doc $",
        ] {
            assert_eq!(refusal(line), None, "{line}");
        }
    }
}
