//! A user group as ElastiCache shows it, and as it is sent there.

use aws_sdk_elasticache::types;

use super::user::Status;

/// A user group as ElastiCache shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserGroup {
    /// Its id, unique in the account and region.
    pub id: String,
    /// `valkey` or `redis`, in lower case.
    pub engine: String,
    /// Whether a change is under way.
    pub status: Status,
    /// The ids of its users.
    pub users: Vec<String>,
    /// The replication groups and serverless caches that let its users in.
    pub caches: Vec<String>,
}

/// A user group that is to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewUserGroup {
    /// Its id: at most 40 lower-case letters, digits and single hyphens, a letter first.
    pub id: String,
    /// `valkey` or `redis`. One of `redis` needs a user with the name `default`.
    pub engine: String,
    /// The ids of its users: at most 100.
    pub users: Vec<String>,
}

impl UserGroup {
    pub(super) fn read(shown: &types::UserGroup) -> Self {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let caches = shown.replication_groups().iter().chain(shown.serverless_caches());
        Self {
            id: text(shown.user_group_id()),
            engine: text(shown.engine()).to_ascii_lowercase(),
            status: Status::read(shown.status()),
            users: shown.user_ids().to_vec(),
            caches: caches.cloned().collect(),
        }
    }
}
