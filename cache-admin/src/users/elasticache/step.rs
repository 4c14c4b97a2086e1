//! One request to ElastiCache, or a wait for it.

use std::collections::BTreeSet;
use std::fmt;

use cache_aws::elasticache::Authentication;

/// One request to ElastiCache, or a wait between two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A user is created.
    CreateUser {
        /// Its id.
        id: String,
        /// What it may do.
        access: String,
        /// How it logs in.
        login: Authentication,
    },
    /// A user is changed.
    ModifyUser {
        /// Its id.
        id: String,
        /// Rules that it lacks.
        add: BTreeSet<String>,
        /// Rules that it has and is not to have.
        remove: BTreeSet<String>,
        /// How its way to log in changes.
        login: Option<LoginChange>,
    },
    /// The user group is created.
    CreateGroup {
        /// The ids of its users.
        users: Vec<String>,
    },
    /// Users are added to the user group.
    AddToGroup {
        /// Their ids.
        users: Vec<String>,
    },
    /// Users are removed from the user group, which ends their connections.
    RemoveFromGroup {
        /// Their ids.
        users: Vec<String>,
    },
    /// A user that is in no group is deleted.
    DeleteUser {
        /// Its id.
        id: String,
    },
    /// Nothing is sent until ElastiCache has carried out what it was told before.
    Wait {
        /// The ids of users that are not active.
        users: Vec<String>,
        /// Whether the group is not active.
        group: bool,
    },
}

/// How the way in which a user logs in changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginChange {
    /// As ElastiCache shows it.
    pub from: Authentication,
    /// As it is to be.
    pub to: Authentication,
}

impl Step {
    /// Whether something is sent.
    #[must_use]
    pub const fn is_change(&self) -> bool {
        !matches!(self, Self::Wait { .. })
    }

    /// The kind, for JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CreateUser { .. } => "create_user",
            Self::ModifyUser { .. } => "modify_user",
            Self::CreateGroup { .. } => "create_group",
            Self::AddToGroup { .. } => "add_to_group",
            Self::RemoveFromGroup { .. } => "remove_from_group",
            Self::DeleteUser { .. } => "delete_user",
            Self::Wait { .. } => "wait",
        }
    }

    /// The ids of the users that it is about.
    #[must_use]
    pub fn users(&self) -> Vec<&str> {
        match self {
            Self::CreateUser { id, .. } | Self::ModifyUser { id, .. } | Self::DeleteUser { id } => {
                vec![id.as_str()]
            }
            Self::CreateGroup { users }
            | Self::AddToGroup { users }
            | Self::RemoveFromGroup { users }
            | Self::Wait { users, .. } => users.iter().map(String::as_str).collect(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateUser { id, access, login } => write!(f, "create user {id}: {login}, {access}"),
            Self::ModifyUser {
                id,
                add,
                remove,
                login,
            } => {
                let mut changes: Vec<String> = add.iter().map(|rule| format!("add {rule}")).collect();
                changes.extend(remove.iter().map(|rule| format!("remove {rule}")));
                changes.extend(login.as_ref().map(ToString::to_string));
                write!(f, "modify user {id}: {}", changes.join(", "))
            }
            Self::CreateGroup { users } => write!(f, "create the group with {}", users.join(", ")),
            Self::AddToGroup { users } => write!(f, "add to the group: {}", users.join(", ")),
            Self::RemoveFromGroup { users } => {
                write!(
                    f,
                    "remove from the group, which ends their connections: {}",
                    users.join(", ")
                )
            }
            Self::DeleteUser { id } => write!(f, "delete user {id}"),
            Self::Wait { users, group } => {
                let group = group.then_some("the group");
                let all: Vec<&str> = users.iter().map(String::as_str).chain(group).collect();
                write!(f, "wait until active: {}", all.join(", "))
            }
        }
    }
}

impl fmt::Display for LoginChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.from, &self.to) {
            (Authentication::Password(1), Authentication::Password(2)) => {
                f.write_str("accept a second password")
            }
            (Authentication::Password(2), Authentication::Password(1)) => {
                f.write_str("accept the declared password only")
            }
            (Authentication::Password(_), Authentication::Password(count)) => {
                write!(f, "accept exactly the {count} declared passwords")
            }
            (from, to) => write!(f, "log in by {to} instead of {from}"),
        }
    }
}
