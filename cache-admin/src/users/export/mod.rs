//! The users of a declaration, written for other tools. Nothing is asked of a server: which commands there are is
//! taken from the declaration's `version`.

mod acl_file;
mod elasticache;
mod terraform;

use cache_core::ConfigError;
use cache_core::config::Problem;

pub use acl_file::acl_file;
pub use elasticache::elasticache;
pub use terraform::terraform;

use super::Declaration;
use super::account::{Account, Login};
use super::role::{Granted, Role};

/// What was written, and what to know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// The file.
    pub text: String,
    /// What could not be carried over, a line each.
    pub notes: Vec<String>,
}

/// The most users of a group at ElastiCache.
pub(super) const LARGEST_GROUP: usize = 100;

/// What ElastiCache gives a user named `default`: nothing, because everybody may try to be it.
pub(super) const NOBODY: &str = "off ~* -@all";

fn has(declaration: &Declaration) -> impl Fn(&Granted) -> bool {
    let version = declaration.version();
    move |granted| granted.since.is_none_or(|since| since <= version)
}

/// The users that ElastiCache takes: those that it does not manage itself, in a group that is not too large.
pub(super) fn for_elasticache(
    declaration: &Declaration,
) -> Result<(Vec<&Account>, Vec<String>), ConfigError> {
    let (taken, left): (Vec<&Account>, Vec<&Account>) = declaration
        .accounts()
        .iter()
        .partition(|account| account.role != Role::AclAdmin);
    let mut notes: Vec<String> = left
        .iter()
        .map(|account| {
            format!(
                "{} is left out: at ElastiCache users are managed by its API, not by a user",
                account.name
            )
        })
        .collect();
    let with_selectors = taken
        .iter()
        .filter(|account| !account.permissions(declaration.target()).selectors.is_empty());
    notes.extend(with_selectors.map(|account| {
        format!(
            "{} can neither see the lives of keys nor step generations: access strings are written without selectors",
            account.name
        )
    }));
    let size = taken.len() + usize::from(declaration.engine() == "redis");
    if size > LARGEST_GROUP {
        return Err(ConfigError::one(
            "services",
            format!(
                "must declare at most {LARGEST_GROUP} users for ElastiCache, the user default counted: there are {size}"
            ),
        ));
    }
    Ok((taken, notes))
}

/// The rules of a user as ElastiCache takes them: no password, no `reset`, no selector.
pub(super) fn access_string(account: &Account, declaration: &Declaration) -> String {
    let rules = account.rules(declaration.target(), &has(declaration));
    let is_command = |word: &&str| word.starts_with('+');
    let (commands, keys): (Vec<&str>, Vec<&str>) = rules
        .in_order()
        .filter(|word| !word.starts_with('('))
        .partition(is_command);
    let words = ["on"]
        .into_iter()
        .chain(keys)
        .chain(["resetchannels", "-@all"])
        .chain(commands);
    words.collect::<Vec<_>>().join(" ")
}

/// Where ElastiCache's passwords are to be found: it hashes them itself, and so has to be given them.
pub(super) fn sources(accounts: &[&Account]) -> Result<Vec<(String, Vec<String>)>, ConfigError> {
    let mut problems = Vec::new();
    let mut sources = Vec::new();
    for account in accounts {
        let Login::Password { current, next } = &account.login else {
            continue;
        };
        let references = std::iter::once(current).chain(next);
        let texts: Vec<String> = references.map(ToString::to_string).collect();
        if texts.iter().any(|text| text.starts_with("sha256:")) {
            problems.push(Problem {
                variable: account.path.clone(),
                message:
                    "must have passwords by env: or file: for ElastiCache, which is given the password itself"
                        .to_owned(),
            });
        }
        sources.push((account.name.clone(), texts));
    }
    if problems.is_empty() {
        Ok(sources)
    } else {
        Err(ConfigError::new(problems))
    }
}
