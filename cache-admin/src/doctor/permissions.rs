//! Whether the user may run what the client sends: asked (`ACL DRYRUN`) where that is allowed, else tried with a
//! key that does not exist.

use std::collections::BTreeMap;

use cache_core::CacheError;
use cache_valkey::admin::{Member, Permission};
use futures::future::join_all;

use super::finding::{Check, Verdict};
use super::patient::Patient;

pub(super) const CHECK: Check = Check {
    name: "permissions",
    why: "a command that the user may not run fails when it is first needed, which may be long after the start",
};

/// Stands for a key.
const KEY: &str = "\0key";

/// What a client of the contract sends, with arguments that do no harm.
const NEEDED: [(&str, &[&str]); 18] = [
    ("PING", &[]),
    ("GET", &[KEY]),
    ("MGET", &[KEY]),
    ("SET", &[KEY, "0", "PX", "1000"]),
    ("EXISTS", &[KEY]),
    ("INCR", &[KEY]),
    ("INCRBY", &[KEY, "1"]),
    ("PEXPIRE", &[KEY, "1000"]),
    ("PTTL", &[KEY]),
    ("PERSIST", &[KEY]),
    ("GETDEL", &[KEY]),
    ("GETEX", &[KEY, "PX", "1000"]),
    ("EVAL", &["return 1", "1", KEY]),
    ("EVALSHA", &["0000000000000000000000000000000000000000", "1", KEY]),
    ("UNLINK", &[KEY]),
    ("CLUSTER", &["SLOTS"]),
    ("CLUSTER", &["INFO"]),
    ("ASKING", &[]),
];

/// How many of [`NEEDED`] concern every server; the others concern clusters.
const EVERYWHERE: usize = 15;

/// What operators need besides, and what for. A service does well without.
const OPERATING: [(&str, &[&str], &str); 6] = [
    ("SCAN", &["0", "COUNT", "1"], "keys, invalidate"),
    ("DBSIZE", &[], "keys, bigkeys"),
    ("INFO", &["server"], "top, overview"),
    ("SLOWLOG", &["LEN"], "top"),
    ("RANDOMKEY", &[], "bigkeys"),
    ("MEMORY", &["USAGE", KEY], "bigkeys, inspect"),
];

pub(super) async fn look(patient: &Patient) -> Verdict {
    let needed = &NEEDED[..if patient.view.cluster {
        NEEDED.len()
    } else {
        EVERYWHERE
    }];
    let key = patient.at_servers(&patient.fresh_key());
    let nodes: Vec<_> = patient.primaries().collect();
    if nodes.is_empty() {
        return Verdict::skipped("no primary answers");
    }
    let asked = join_all(nodes.iter().map(|node| ask(&node.member, needed, &key))).await;
    let mut missing = BTreeMap::<String, Vec<&str>>::new();
    let mut keys = Vec::new();
    let (mut unheard, mut tried) = (Vec::new(), false);
    let mut operating = Vec::new();
    for (node, asked) in nodes.iter().zip(asked) {
        match asked {
            Ok(asked) => {
                tried |= asked.tried;
                for (command, words) in asked.refused {
                    if is_about_keys(&words) {
                        keys.push(node.address());
                    } else {
                        missing.entry(command).or_default().push(node.address());
                    }
                }
                operating = asked.operating;
            }
            Err(error) => unheard.push(format!("{}: {error}", node.address())),
        }
    }
    let how = if tried { "tried" } else { "by ACL DRYRUN" };
    if !keys.is_empty() {
        return Verdict::fail(
            format!(
                "the user may not use the keys of this examination ({})",
                shown(&key)
            ),
            "set CACHE_KEY_PREFIX to what the user's keys begin with, as the service does, or name it by --prefix",
        );
    }
    if !missing.is_empty() {
        let everywhere = nodes.len() - unheard.len();
        let missing = missing.into_iter().map(|(command, on)| {
            if on.len() == everywhere {
                command
            } else {
                format!("{command} on {}", on.join(", "))
            }
        });
        return Verdict::fail(
            format!(
                "the user may not run {} ({how})",
                missing.collect::<Vec<_>>().join(", ")
            ),
            "grant them by ACL SETUSER on every node; SECURITY.md has the whole list",
        );
    }
    if let Some(error) = unheard.first() {
        return Verdict::fail(error.clone(), "see the primaries").unless_explained();
    }
    let mut seen = format!("all that a client of the contract sends ({how})");
    if !operating.is_empty() {
        seen.push_str(&format!("; not for operators: {}", operating.join(", ")));
    }
    Verdict::ok(seen)
}

/// What one node said.
struct Asked {
    /// Commands that it refuses, with its words.
    refused: Vec<(String, String)>,
    /// What it refuses of what operators need.
    operating: Vec<String>,
    /// Whether it was tried, because it could not be asked.
    tried: bool,
}

async fn ask(member: &Member, needed: &[(&'static str, &[&str])], key: &str) -> Result<Asked, CacheError> {
    let user = member.user().await?;
    let mut asked = Asked {
        refused: Vec::new(),
        operating: Vec::new(),
        tried: user.is_none(),
    };
    for (name, arguments) in needed {
        if let Permission::Refused(words) =
            permission(member, &mut asked.tried, &user, name, arguments, key).await?
        {
            asked.refused.push((full_name(name, arguments), words));
        }
    }
    for (name, arguments, what_for) in OPERATING {
        if let Permission::Refused(_) =
            permission(member, &mut asked.tried, &user, name, arguments, key).await?
        {
            asked
                .operating
                .push(format!("{} ({what_for})", full_name(name, arguments)));
        }
    }
    Ok(asked)
}

async fn permission(
    member: &Member,
    tried: &mut bool,
    user: &Option<String>,
    name: &'static str,
    arguments: &[&str],
    key: &str,
) -> Result<Permission, CacheError> {
    let arguments: Vec<&str> = arguments
        .iter()
        .map(|argument| if *argument == KEY { key } else { argument })
        .collect();
    if let (Some(user), false) = (user, *tried) {
        let command: Vec<&str> = std::iter::once(name).chain(arguments.iter().copied()).collect();
        match member.may(user, &command).await? {
            Some(permission) => return Ok(permission),
            None => *tried = true,
        }
    }
    member.tries(name, &arguments).await
}

/// `CLUSTER SLOTS`: with the subcommand, where there is one.
fn full_name(name: &str, arguments: &[&str]) -> String {
    match (name, arguments.first()) {
        ("CLUSTER" | "SLOWLOG" | "MEMORY", Some(part)) => format!("{name} {part}"),
        _ => name.to_owned(),
    }
}

/// Whether a refusal is about the key and not about the command.
fn is_about_keys(words: &str) -> bool {
    words.contains("key") && !words.contains("command")
}

/// What the key begins with, without the part that is random.
fn shown(key: &str) -> String {
    format!(
        "{}...",
        key.get(..key.len().saturating_sub(32)).unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_a_key_is_told_from_one_of_a_command() {
        let key = "User app has no permissions to access the 'cachectl-doctor:1' key";
        assert!(is_about_keys(key));
        let key = "denied: the user may not run GET: No permissions to access a key";
        assert!(is_about_keys(key));
        let command = "User app has no permissions to run the 'get' command";
        assert!(!is_about_keys(command));
        assert!(!is_about_keys(
            "denied: the user may not run GET: User app has no permissions to run the 'get' command"
        ));
    }

    #[test]
    fn clusters_need_the_last_of_what_is_needed() {
        let clusters: Vec<_> = NEEDED[EVERYWHERE..].iter().map(|(name, _)| *name).collect();
        assert_eq!(clusters, ["CLUSTER", "CLUSTER", "ASKING"]);
    }
}
