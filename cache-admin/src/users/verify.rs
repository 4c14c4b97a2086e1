//! What each user may and may not, tried by dry runs on every node.

use std::sync::Arc;

use cache_core::CacheError;
use cache_valkey::admin::Permission;
use futures::future::join_all;

use super::account::Account;
use super::role::Role;
use super::{Declaration, Node, sample};

/// What ought to come of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The user may.
    Allowed,
    /// The user may not.
    Denied,
}

/// One command of one user on one node, and that what came of it is not what ought to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Row {
    /// The node.
    pub address: String,
    /// The user.
    pub user: String,
    /// The command with its arguments.
    pub command: String,
    /// What ought to come of it.
    pub expected: Expected,
    /// What did, in the server's words.
    pub found: String,
}

/// What came of all dry runs.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Verified {
    /// How many there were.
    pub tried: usize,
    /// Those that did not end as they ought to.
    pub failed: Vec<Row>,
    /// Nodes that could not be asked.
    pub unreached: Vec<(String, CacheError)>,
}

/// What no user of a declaration may.
const FORBIDDEN: &[&str] = &[
    "flushall",
    "flushdb",
    "keys",
    "config|get",
    "shutdown",
    "monitor",
    "replicaof",
    "swapdb",
    "client|kill",
    "script|flush",
];

/// A key that is in nobody's keyspace.
const NOBODY_S: &str = "nobody-owns-this";

/// Dry runs, on every node, of what each user of `declaration` may and may not.
pub async fn verify(declaration: &Declaration, nodes: &[Arc<dyn Node>]) -> Verified {
    let each = nodes.iter().map(|node| on(declaration, node));
    let mut all = Verified::default();
    for (node, verified) in nodes.iter().zip(join_all(each).await) {
        match verified {
            Ok((tried, mut failed)) => {
                all.tried += tried;
                all.failed.append(&mut failed);
            }
            Err(error) => all.unreached.push((node.address().to_owned(), error)),
        }
    }
    all
}

async fn on(declaration: &Declaration, node: &Arc<dyn Node>) -> Result<(usize, Vec<Row>), CacheError> {
    let mut tried = 0;
    let mut failed = Vec::new();
    for account in declaration.accounts() {
        for (expected, command) in table(account, declaration) {
            tried += 1;
            let words: Vec<&str> = command.iter().map(String::as_str).collect();
            let found = match node.dry_run(&account.name, &words).await {
                Ok(Permission::Allowed) if expected == Expected::Allowed => continue,
                Ok(Permission::Refused(_)) if expected == Expected::Denied => continue,
                Ok(Permission::Allowed) => "allowed".to_owned(),
                Ok(Permission::Refused(words)) => words,
                // Older servers do not have all commands, and what there is not nobody may do.
                Err(CacheError::Rejected { detail, .. }) if is_unknown(&detail) => continue,
                Err(CacheError::Rejected { detail, .. }) => detail.into_owned(),
                Err(error) => return Err(error),
            };
            failed.push(Row {
                address: node.address().to_owned(),
                user: account.name.clone(),
                command: command.join(" "),
                expected,
                found,
            });
        }
    }
    Ok((tried, failed))
}

fn is_unknown(detail: &str) -> bool {
    detail.starts_with("Command '") && detail.ends_with("' not found")
}

/// What `account` ought to be allowed and denied.
fn table(account: &Account, declaration: &Declaration) -> Vec<(Expected, Vec<String>)> {
    let permissions = account.permissions(declaration.target());
    let own = account.own_key();
    let own = own.as_deref();
    let mut table = Vec::new();
    let mut row = |expected, command: &str, key: &str| table.push((expected, sample::of(command, key)));

    for granted in &permissions.commands {
        row(Expected::Allowed, &granted.command, own.unwrap_or(NOBODY_S));
    }
    for (keys, commands) in &permissions.selectors {
        // A key that the first of the rules covers.
        let key = keys
            .first()
            .map(|rule| rule.trim_start_matches("%R").trim_start_matches('~'));
        let key = key.unwrap_or_default().replace('*', "");
        for granted in commands {
            row(Expected::Allowed, &granted.command, &key);
        }
    }

    for command in FORBIDDEN {
        row(Expected::Denied, command, NOBODY_S);
    }
    for command in ["get", "set", "unlink", "eval"] {
        let is_read = command == "get";
        if !account.allow.iter().any(|allowed| allowed == command) || own.is_some() {
            row(Expected::Denied, command, NOBODY_S);
        }
        let denied_on_own = match account.role {
            Role::Service => false,
            Role::Reader => !is_read,
            Role::Invalidator | Role::Operator => command != "unlink",
            Role::Viewer | Role::AclAdmin => true,
        };
        if let (true, Some(own)) = (denied_on_own, own) {
            row(Expected::Denied, command, own);
        }
    }
    if account.role != Role::AclAdmin {
        row(Expected::Denied, "acl|setuser", NOBODY_S);
        row(Expected::Denied, "acl|list", NOBODY_S);
    }
    if !matches!(account.role, Role::Invalidator | Role::Operator) {
        row(Expected::Denied, "scan", NOBODY_S);
    }
    // Whatever belongs to others, and is not shared.
    for other in declaration
        .accounts()
        .iter()
        .filter(|other| other.role.is_of_a_service())
    {
        let Some(key) = other.own_key().filter(|key| !account.covers(key)) else {
            continue;
        };
        for command in ["get", "set", "unlink"] {
            row(Expected::Denied, command, &key);
        }
    }
    table.sort_by(|one, two| one.1.cmp(&two.1));
    table.dedup();
    let allowed: Vec<String> = account.allow.clone();
    // What was allowed besides is not held against it.
    table.retain(|(expected, command)| {
        *expected == Expected::Allowed || !is_allowed_besides(&allowed, command)
    });
    table
}

fn is_allowed_besides(allowed: &[String], command: &[String]) -> bool {
    let both = command.get(..2).map(|two| two.join("|"));
    allowed
        .iter()
        .any(|own| Some(own) == command.first() || Some(own) == both.as_ref())
}
