//! One user that is to exist: its name, what it is for, where its password is to be found.

use std::fmt;
use std::path::PathBuf;

use cache_valkey::admin::{AclRules, PasswordHash};

use super::role::{Granted, Permissions, Role, Target};

/// A user that is to exist.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// Its name at the servers.
    pub name: String,
    /// Where the declaration says so: `services.billing.users.reader`.
    pub path: String,
    /// What it is for.
    pub role: Role,
    /// The prefixes of the keys that it is for; none for roles without keys.
    pub keyspaces: Vec<String>,
    /// Commands besides those of its role.
    pub allow: Vec<String>,
    /// How it logs in.
    pub login: Login,
}

/// How a user logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// By a password, or by either of two while it is changed.
    Password {
        /// The one in use.
        current: Reference,
        /// The one that is to replace it.
        next: Option<Reference>,
    },
    /// By a token of the cloud's identity service: on ElastiCache only.
    Iam,
}

/// Where a password is to be found; never the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// In the variable of this name.
    Env(String),
    /// In this file, alone.
    File(PathBuf),
    /// Nowhere: only its SHA-256 is known.
    Sha256(PasswordHash),
}

impl Account {
    /// What it may on such servers.
    #[must_use]
    pub fn permissions(&self, target: Target) -> Permissions {
        let mut permissions = self.role.permissions(&self.keyspaces, target);
        let more = self.allow.iter().map(|command| Granted::always(command));
        permissions.commands.extend(more);
        permissions.commands.sort_unstable();
        permissions.commands.dedup();
        permissions
    }

    /// As a user of a server that has the commands for which `has` says so; without passwords.
    pub(super) fn rules(&self, target: Target, has: &dyn Fn(&Granted) -> bool) -> AclRules {
        AclRules::of(self.permissions(target).rules(has))
    }

    /// A key of its first keyspace.
    pub(super) fn own_key(&self) -> Option<String> {
        Some(format!("{}cachectl-verify", self.keyspaces.first()?))
    }

    /// Whether `key` is in one of its keyspaces.
    pub(super) fn covers(&self, key: &str) -> bool {
        self.keyspaces.iter().any(|keyspace| key.starts_with(keyspace))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Sha256(_) => f.write_str("sha256:***"),
        }
    }
}
