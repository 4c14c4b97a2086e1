//! Which commands `raw` sends: those that read, show no value, and cost a server little. Every other one is refused.
//!
//! Not in here: secrets in what servers answer ([`secrets`](super::secrets)).

use std::ffi::OsString;

use crate::failure::Failure;

/// The most words of a command, and the most bytes of a word.
const MOST: (usize, usize) = (64, 16 * 1024);

/// What a command takes after its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Nothing,
    Any,
    /// One key first, then perhaps more. Goes to the node that serves the key.
    Key,
}

/// The commands, by name. A name of two words is a command and its subcommand.
const ALLOWED: [(&str, Takes); 48] = [
    ("ACL CAT", Takes::Any),
    ("ACL USERS", Takes::Nothing),
    ("ACL WHOAMI", Takes::Nothing),
    ("CLIENT INFO", Takes::Nothing),
    ("CLIENT LIST", Takes::Any),
    ("CLUSTER COUNTKEYSINSLOT", Takes::Any),
    ("CLUSTER INFO", Takes::Nothing),
    ("CLUSTER KEYSLOT", Takes::Any),
    ("CLUSTER LINKS", Takes::Nothing),
    ("CLUSTER MYID", Takes::Nothing),
    ("CLUSTER NODES", Takes::Nothing),
    ("CLUSTER SHARDS", Takes::Nothing),
    ("CLUSTER SLOT-STATS", Takes::Any),
    ("CLUSTER SLOTS", Takes::Nothing),
    ("COMMAND COUNT", Takes::Nothing),
    ("COMMAND INFO", Takes::Any),
    ("COMMAND LIST", Takes::Any),
    ("COMMANDLOG GET", Takes::Any),
    ("COMMANDLOG LEN", Takes::Any),
    ("CONFIG GET", Takes::Any),
    ("DBSIZE", Takes::Nothing),
    ("EXISTS", Takes::Key),
    ("HLEN", Takes::Key),
    ("INFO", Takes::Any),
    ("LASTSAVE", Takes::Nothing),
    ("LATENCY DOCTOR", Takes::Nothing),
    ("LATENCY HISTOGRAM", Takes::Any),
    ("LATENCY HISTORY", Takes::Any),
    ("LATENCY LATEST", Takes::Nothing),
    ("LLEN", Takes::Key),
    ("MEMORY DOCTOR", Takes::Nothing),
    ("MEMORY MALLOC-STATS", Takes::Nothing),
    ("MEMORY STATS", Takes::Nothing),
    ("MEMORY USAGE", Takes::Key),
    ("OBJECT ENCODING", Takes::Key),
    ("OBJECT FREQ", Takes::Key),
    ("OBJECT IDLETIME", Takes::Key),
    ("OBJECT REFCOUNT", Takes::Key),
    ("PING", Takes::Nothing),
    ("PTTL", Takes::Key),
    ("ROLE", Takes::Nothing),
    ("SCARD", Takes::Key),
    ("SLOWLOG GET", Takes::Any),
    ("SLOWLOG LEN", Takes::Nothing),
    ("STRLEN", Takes::Key),
    ("TIME", Takes::Nothing),
    ("TTL", Takes::Key),
    ("TYPE", Takes::Key),
];

/// A command that may be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    /// In capitals, of one or two words.
    pub(super) name: &'static str,
    /// The key, as it was typed.
    pub(super) key: Option<Vec<u8>>,
    /// What comes after the name and the key.
    pub(super) rest: Vec<Vec<u8>>,
}

impl Allowed {
    /// The command of these words; one word may hold all of them. Refuses what is not on the list.
    pub(super) fn of(words: &[OsString]) -> Result<Self, Failure> {
        let words: Vec<Vec<u8>> = match words {
            [one] => one
                .as_encoded_bytes()
                .split(u8::is_ascii_whitespace)
                .filter(|word| !word.is_empty())
                .map(<[u8]>::to_vec)
                .collect(),
            several => several
                .iter()
                .map(|word| word.as_encoded_bytes().to_vec())
                .collect(),
        };
        if words.len() > MOST.0 || words.iter().any(|word| word.len() > MOST.1) {
            return Err(Failure::Usage(format!(
                "raw: a command has at most {} words of {} bytes each",
                MOST.0, MOST.1
            )));
        }
        let is = |name: &str| {
            let mut given = words.iter();
            name.split(' ').all(|part| {
                given
                    .next()
                    .is_some_and(|word| word.eq_ignore_ascii_case(part.as_bytes()))
            })
        };
        let Some((name, takes)) = ALLOWED.iter().find(|(name, _)| is(name)) else {
            return Err(refused(&words));
        };
        let mut rest = words.into_iter().skip(name.split(' ').count());
        let key = match takes {
            Takes::Key => Some(
                rest.next()
                    .ok_or_else(|| Failure::Usage(format!("raw: {name} takes a key")))?,
            ),
            Takes::Nothing | Takes::Any => None,
        };
        let rest: Vec<Vec<u8>> = rest.collect();
        if *takes == Takes::Nothing && !rest.is_empty() {
            return Err(Failure::Usage(format!("raw: {name} takes nothing more")));
        }
        if *name == "EXISTS" && !rest.is_empty() {
            // Keys of several slots belong to several nodes.
            return Err(Failure::Usage("raw: EXISTS takes one key".to_owned()));
        }
        Ok(Self { name, key, rest })
    }

    /// The command and, if it has one, its subcommand.
    pub(super) fn words(&self) -> (&'static str, Option<&'static str>) {
        match self.name.split_once(' ') {
            Some((command, subcommand)) => (command, Some(subcommand)),
            None => (self.name, None),
        }
    }
}

/// All names, with commas between.
pub(super) fn names() -> String {
    let names: Vec<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

fn refused(words: &[Vec<u8>]) -> Failure {
    // The name alone: what follows may be a value.
    let name = words.first().map_or_else(String::new, |word| {
        let shown = word.len().min(32);
        crate::escape::escaped(&word[..shown].to_ascii_uppercase())
    });
    Failure::Usage(format!(
        "raw does not send {name} in this form, and nothing was sent: it only reads, and shows no value. Accepted are: {}",
        names()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Result<Allowed, Failure> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        Allowed::of(&words)
    }

    #[test]
    fn names_are_sorted_and_each_is_there_once() {
        assert!(ALLOWED.is_sorted_by(|(one, _), (two, _)| one < two));
    }

    #[test]
    fn docs_list_the_commands_that_are_accepted() {
        let page = include_str!("../../../../../../docs/cachectl.md");
        let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
        let list: Vec<String> = ALLOWED.iter().map(|(name, _)| format!("`{name}`")).collect();
        let list = format!("nothing is sent: {}.", list.join(", "));
        assert!(page.contains(&list), "docs/cachectl.md does not have: {list}");
    }

    #[test]
    fn commands_that_write_or_show_values_are_refused() {
        for words in [
            &["GET", "k"][..],
            &["SET", "k", "v"],
            &["CONFIG", "SET", "maxmemory", "1"],
            &["CONFIG", "REWRITE"],
            &["CONFIG", "RESETSTAT"],
            &["CONFIG"],
            &["CLIENT", "KILL", "TYPE", "normal"],
            &["CLIENT", "PAUSE", "1000"],
            &["ACL", "LIST"],
            &["ACL", "GETUSER", "default"],
            &["ACL", "SETUSER", "x"],
            &["SLOWLOG", "RESET"],
            &["LATENCY", "RESET"],
            &["MEMORY", "PURGE"],
            &["CLUSTER", "FAILOVER"],
            &["CLUSTER", "GETKEYSINSLOT", "1", "10"],
            &["DEBUG", "SLEEP", "1"],
            &["MONITOR"],
            &["KEYS", "*"],
            &["FLUSHALL"],
            &["EVAL", "return 1", "0"],
            &["DUMP", "k"],
            &["GETRANGE", "k", "0", "1"],
            &["SHUTDOWN"],
            &["INFOX"],
            &[""],
            &["DBSIZE", "now"],
            &["TYPE"],
            &["EXISTS", "a", "b"],
        ] {
            let refused = of(words);
            assert!(
                matches!(refused, Err(Failure::Usage(_))),
                "{words:?}: {refused:?}"
            );
        }
    }

    #[test]
    fn a_refusal_names_what_is_accepted_and_no_argument() {
        let Err(refusal) = of(&["SET", "user", "hunter2"]) else {
            panic!("it was accepted");
        };
        let text = refusal.lines().join("");
        assert!(
            text.contains("SET") && text.contains("CONFIG GET, DBSIZE"),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_command_is_read_in_any_case_and_from_one_word() {
        for words in [&["config", "Get", "max*"][..], &["CONFIG GET max*"]] {
            let found = of(words).unwrap();
            assert_eq!(
                (found.name, found.rest.as_slice()),
                ("CONFIG GET", &[b"max*".to_vec()][..])
            );
            assert_eq!(found.words(), ("CONFIG", Some("GET")));
        }
        let found = of(&["memory", "usage", "k 1", "SAMPLES", "5"]).unwrap();
        assert_eq!(found.key.as_deref(), Some(&b"k 1"[..]));
        assert_eq!(found.rest.len(), 2);
    }

    #[test]
    fn a_command_that_is_too_long_is_refused() {
        let many = vec!["INFO"; 65];
        assert!(of(&many).is_err());
        assert!(of(&["INFO", &"x".repeat(16 * 1024 + 1)]).is_err());
    }
}
