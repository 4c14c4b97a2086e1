//! What a declaration may not say, and what would be right in its place.

use std::collections::BTreeMap;

use super::account::{Account, Login};
use super::declaration::Service;
use super::name::{LONGEST_ID, id_of, is_plain};
use super::role::PROBES;

pub(super) const NAME: &str =
    "must be a name of lower-case letters, digits and single hyphens, such as billing";
pub(super) const KEYSPACES: &str = "must name the prefixes of the service's keys, such as [\"billing:\"]";
pub(super) const REFERENCE: &str =
    "must say where the password is: env:NAME, file:PATH or sha256: with 64 hexadecimal digits";

/// What keyspaces end with, so that one is never the start of another word.
const ENDS: &[u8] = b":/.-_#|";

/// Commands that no service needs and that put others in danger.
const REFUSED: &[&str] = &[
    "acl",
    "cluster",
    "config",
    "debug",
    "failover",
    "flushall",
    "flushdb",
    "function",
    "keys",
    "migrate",
    "module",
    "monitor",
    "pfdebug",
    "psync",
    "replconf",
    "replicaof",
    "restore",
    "save",
    "bgsave",
    "bgrewriteaof",
    "script",
    "shutdown",
    "slaveof",
    "swapdb",
    "sync",
    "client|kill",
    "client|list",
    "client|no-evict",
    "client|pause",
    "client",
];

pub(super) fn prefix(prefix: &str) -> Option<&'static str> {
    let name = prefix.strip_suffix('-').filter(|name| is_plain(name));
    match name {
        Some(name) if name.len() + 1 < LONGEST_ID / 2 => None,
        _ => Some(
            "must be a short name with a hyphen at its end, such as app-: it marks the users that are managed",
        ),
    }
}

pub(super) fn keyspace(keyspace: &str) -> Option<&'static str> {
    if keyspace.is_empty() || keyspace.trim_matches(['*', '~', '%', 'R', 'W']).is_empty() {
        return Some("must not be all keys: name a prefix, such as billing:");
    }
    if keyspace.bytes().any(|byte| b"*?[]\\\"'~%()".contains(&byte)) {
        return Some(
            "must be the prefix itself, such as billing:, without wildcards, quotes, brackets and signs of a rule",
        );
    }
    if !keyspace.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some("must have printable characters of ASCII only, and no spaces: rules cannot hold others");
    }
    if !keyspace.bytes().last().is_some_and(|last| ENDS.contains(&last)) {
        return Some("must end with a separator, such as billing:, so that it covers no longer name");
    }
    (keyspace.len() < 2).then_some("must have a name before the separator, such as billing:")
}

pub(super) fn command(command: &str) -> Option<&'static str> {
    if command.contains('@') {
        return Some("must be a command such as zadd; categories grow with each version of the servers");
    }
    let is_word = |word: &str| {
        let mut bytes = word.bytes();
        !word.is_empty()
            && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let mut words = command.split('|');
    if !(1..=2).contains(&command.split('|').count()) || !words.all(is_word) {
        return Some("must be a command in lower case, such as zadd or object|encoding, without + or -");
    }
    let first = command.split('|').next().unwrap_or(command);
    let refused = REFUSED.contains(&command) || REFUSED.contains(&first) && first != "client";
    refused.then_some("must not be a command that reaches beyond the service's own keys")
}

/// No keyspace of a service reaches into that of another one, unless both say so.
pub(super) fn keyspaces(services: &[Service], refuse: &mut dyn FnMut(String, String)) {
    for service in services {
        for other in &service.shared_with {
            if services.iter().all(|known| known.name != *other) || *other == service.name {
                refuse(
                    format!("services.{}.shared_with", service.name),
                    "must name other services that are declared".to_owned(),
                );
            }
        }
    }
    let all: Vec<(&Service, usize, &str)> = services
        .iter()
        .flat_map(|service| {
            let keyspaces = service.keyspaces.iter().enumerate();
            keyspaces.map(move |(index, keyspace)| (service, index, keyspace.as_str()))
        })
        .collect();
    for (place, (service, index, keyspace)) in all.iter().enumerate() {
        let path = format!("services.{}.keyspaces[{index}]", service.name);
        if overlap(keyspace, PROBES) {
            refuse(
                path.clone(),
                format!("must not reach into {PROBES}, where the doctor tries the cache"),
            );
        }
        for (other, _, taken) in &all[..place] {
            let agreed =
                service.shared_with.contains(&other.name) && other.shared_with.contains(&service.name);
            if agreed || keyspace.is_empty() || !overlap(keyspace, taken) {
                continue;
            }
            let message = if other.name == service.name {
                format!("must not overlap {taken} of the same service: the shorter one covers both")
            } else {
                format!(
                    "must not overlap {taken} of services.{}; where both are to have these keys, each names the \
                     other in shared_with",
                    other.name
                )
            };
            refuse(path.clone(), message);
        }
    }
}

fn overlap(one: &str, two: &str) -> bool {
    !one.is_empty() && !two.is_empty() && (one.starts_with(two) || two.starts_with(one))
}

/// Every user has a name of its own, also where names are short.
pub(super) fn names(accounts: &[Account], refuse: &mut dyn FnMut(String, String)) {
    let mut ids: BTreeMap<&str, &Account> = BTreeMap::new();
    for account in accounts {
        // With the prefix before it, too: somebody would take it for the one.
        if account.path.split('.').nth(1) == Some("default") {
            refuse(
                account.path.clone(),
                "must not be called default: that is the server's own user".to_owned(),
            );
        }
        if account.login == Login::Iam && id_of(&account.name) != account.name {
            refuse(
                account.path.clone(),
                format!(
                    "must have a name of at most {LONGEST_ID} characters, because id and name of an IAM user are one"
                ),
            );
        }
        if let Some(other) = ids.insert(id_of(&account.name), account) {
            let message = if other.name == account.name {
                format!(
                    "must not have the name {}, which {} has",
                    account.name, other.path
                )
            } else {
                format!(
                    "must differ from {} in the first {LONGEST_ID} characters of the name, which is all that ElastiCache \
                     keeps: both become {}",
                    other.path,
                    id_of(&account.name)
                )
            };
            refuse(account.path.clone(), message);
        }
    }
}
