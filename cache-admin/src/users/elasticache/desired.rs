//! What a declaration means at ElastiCache: the user group, its users, and ElastiCache's own rules about them.
//!
//! Ids and access strings are those that `cachectl users export` writes.

use std::collections::BTreeMap;

use cache_aws::elasticache::Login;
use cache_core::config::Problem;
use cache_core::{CacheError, ConfigError, Secret};

use super::super::account::Login as Declared;
use super::super::export::{NOBODY, access_string, for_elasticache, sources};
use super::super::name::{LONGEST_ID, default_id_of, id_of, is_plain};
use super::super::{Account, Credentials, Declaration};
use super::Access;

/// What ElastiCache takes in no password.
const NOT_IN_PASSWORDS: &[char] = &[',', '"', '/', '@'];

/// The users and the user group that a declaration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    pub(super) prefix: String,
    pub(super) engine: String,
    pub(super) group: String,
    pub(super) users: BTreeMap<String, DesiredUser>,
    pub(super) default: Option<DesiredUser>,
    notes: Vec<String>,
}

/// A user that there is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DesiredUser {
    pub(super) id: String,
    pub(super) name: String,
    /// Where the declaration says so.
    pub(super) path: String,
    /// The access string as it is sent.
    pub(super) text: String,
    pub(super) access: Access,
    pub(super) login: DesiredLogin,
}

/// How a user is to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DesiredLogin {
    /// By one of so many passwords.
    Passwords(u32),
    Iam,
    NoPassword,
}

impl Desired {
    /// Reads what `declaration` asks for. `group` takes the place of the declaration's user group.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with everything that ElastiCache would refuse: a group's id, more users than a group takes,
    /// passwords of which only the hash is known or that have a character that ElastiCache does not take.
    pub fn of(
        declaration: &Declaration,
        credentials: &Credentials,
        group: Option<&str>,
    ) -> Result<Self, ConfigError> {
        let group = group.unwrap_or_else(|| declaration.group());
        if !is_plain(group) || group.len() > LONGEST_ID {
            return Err(ConfigError::one(
                "--user-group",
                format!(
                    "must be an id of at most {LONGEST_ID} lower-case letters, digits and single hyphens, such as app-users"
                ),
            ));
        }
        let (accounts, notes) = for_elasticache(declaration)?;
        sources(&accounts)?;
        check_passwords(&accounts, credentials)?;
        if accounts.is_empty() {
            return Err(ConfigError::one(
                "services",
                "must declare a user that ElastiCache takes: acl-admin is not one, and a group without users lets no one in",
            ));
        }
        let users = accounts.into_iter().map(|account| {
            let user = DesiredUser::of(account, declaration, credentials);
            (user.id.clone(), user)
        });
        Ok(Self {
            prefix: declaration.prefix().to_owned(),
            engine: declaration.engine().to_owned(),
            group: group.to_owned(),
            users: users.collect(),
            default: (declaration.engine() == "redis").then(|| DesiredUser::default_of(group)),
            notes,
        })
    }

    /// The id of the user group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// `valkey` or `redis`.
    #[must_use]
    pub fn engine(&self) -> &str {
        &self.engine
    }

    /// What of the declaration ElastiCache cannot have, a line each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The id of the user of that name, with or without the prefix.
    #[must_use]
    pub fn id_of(&self, name: &str) -> Option<&str> {
        let named = |user: &&DesiredUser| {
            user.name == name || user.name.strip_prefix(self.prefix.as_str()) == Some(name)
        };
        self.users.values().find(named).map(|user| user.id.as_str())
    }

    pub(super) fn user(&self, id: &str) -> Option<&DesiredUser> {
        let default = self.default.as_ref().filter(|default| default.id == id);
        self.users.get(id).or(default)
    }
}

impl DesiredUser {
    fn of(account: &Account, declaration: &Declaration, credentials: &Credentials) -> Self {
        let text = access_string(account, declaration);
        let count = credentials.of(&account.name).len();
        Self {
            id: id_of(&account.name).to_owned(),
            name: account.name.clone(),
            path: account.path.clone(),
            access: Access::read(&text),
            text,
            login: match account.login {
                Declared::Password { .. } => {
                    DesiredLogin::Passwords(u32::try_from(count).unwrap_or(u32::MAX))
                }
                Declared::Iam => DesiredLogin::Iam,
            },
        }
    }

    fn default_of(group: &str) -> Self {
        Self {
            id: default_id_of(group),
            name: "default".to_owned(),
            path: "elasticache.engine".to_owned(),
            text: NOBODY.to_owned(),
            access: Access::read(NOBODY),
            login: DesiredLogin::NoPassword,
        }
    }

    /// How it logs in, as it is sent.
    pub(super) fn login(&self, credentials: &Credentials) -> Result<Login, CacheError> {
        Ok(match self.login {
            DesiredLogin::Iam => Login::Iam,
            DesiredLogin::NoPassword => Login::NoPassword,
            DesiredLogin::Passwords(_) => {
                let passwords = credentials.of(&self.name).iter();
                let plain: Option<Vec<Secret>> = passwords.map(|password| password.plain.clone()).collect();
                Login::Passwords(plain.ok_or_else(|| {
                    ConfigError::one(
                        self.path.clone(),
                        "must have passwords by env: or file: for ElastiCache",
                    )
                })?)
            }
        })
    }
}

fn check_passwords(accounts: &[&Account], credentials: &Credentials) -> Result<(), ConfigError> {
    let mut problems = Vec::new();
    for account in accounts {
        let refused = |password: &&super::super::Password| {
            let plain = password.plain.as_ref();
            plain.is_some_and(|plain| plain.expose().contains(NOT_IN_PASSWORDS))
        };
        if credentials
            .of(&account.name)
            .iter()
            .any(|password| refused(&password))
        {
            problems.push(Problem {
                variable: account.path.clone(),
                message: "must have passwords without , \" / and @: ElastiCache takes none with them"
                    .to_owned(),
            });
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ConfigError::new(problems))
    }
}
