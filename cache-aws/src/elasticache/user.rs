//! A user as ElastiCache shows it, and as it is sent there.

use std::fmt;

use aws_sdk_elasticache::types::{self, AuthenticationType, InputAuthenticationType};
use cache_core::Secret;

/// A user as ElastiCache shows it. Passwords are write-only there: only their number is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its id, unique in the account and region.
    pub id: String,
    /// The name that clients log in with, unique in a user group.
    pub name: String,
    /// `valkey` or `redis`, in lower case.
    pub engine: String,
    /// Whether a change is under way.
    pub status: Status,
    /// What it may do, in ElastiCache's own words: they may differ from those that were sent and mean the same.
    pub access: String,
    /// How it logs in.
    pub authentication: Authentication,
    /// The ids of the user groups that it is in.
    pub groups: Vec<String>,
}

/// How a user logs in, as ElastiCache shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// By one of so many passwords: 1 or 2.
    Password(u32),
    /// By a token of IAM.
    Iam,
    /// By its name alone.
    NoPassword,
    /// In a way that this version does not know.
    Other(String),
}

/// Whether a change to a user or a user group is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is being made.
    Creating,
    /// It is in force and may be changed.
    Active,
    /// A change is on its way to the nodes; further changes are refused.
    Modifying,
    /// It is going away.
    Deleting,
    /// A status that this version does not know.
    Other(String),
}

/// How a user is to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// With one of these passwords: one or two, of 16 to 128 characters each. They replace all previous ones.
    Passwords(Vec<Secret>),
    /// With an IAM token. Id and name must be the same.
    Iam,
    /// With its name alone. Only users of the engine `redis` may.
    NoPassword,
}

/// A user that is to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewUser {
    /// Its id: at most 40 lower-case letters, digits and single hyphens, a letter first.
    pub id: String,
    /// The name that clients log in with.
    pub name: String,
    /// `valkey` or `redis`.
    pub engine: String,
    /// What it may do, such as `on ~billing:* resetchannels -@all +get`.
    pub access: String,
    /// How it logs in.
    pub login: Login,
}

/// A change to a user. Fields that are `None` stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    /// What it may do.
    pub access: Option<String>,
    /// How it logs in.
    pub login: Option<Login>,
}

impl Status {
    /// Reads the API's word.
    pub(super) fn read(text: Option<&str>) -> Self {
        match text.unwrap_or_default().to_ascii_lowercase().as_str() {
            "creating" => Self::Creating,
            "active" => Self::Active,
            "modifying" => Self::Modifying,
            "deleting" => Self::Deleting,
            other => Self::Other(other.to_owned()),
        }
    }

    /// Whether it is in force and may be changed.
    #[must_use]
    pub fn is_active(&self) -> bool {
        *self == Self::Active
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Active => "active",
            Self::Modifying => "modifying",
            Self::Deleting => "deleting",
            Self::Other(other) => other,
        })
    }
}

impl Authentication {
    fn read(shown: Option<&types::Authentication>) -> Self {
        let count = shown
            .and_then(types::Authentication::password_count)
            .unwrap_or_default();
        match shown.and_then(|shown| shown.r#type()) {
            Some(AuthenticationType::Password) => Self::Password(u32::try_from(count).unwrap_or_default()),
            Some(AuthenticationType::Iam) => Self::Iam,
            Some(AuthenticationType::NoPassword) => Self::NoPassword,
            // AWS's own documentation writes it with an underscore.
            Some(other) if other.as_str() == "no_password" => Self::NoPassword,
            other => Self::Other(other.map(|other| other.as_str().to_owned()).unwrap_or_default()),
        }
    }
}

impl fmt::Display for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password(1) => f.write_str("1 password"),
            Self::Password(count) => write!(f, "{count} passwords"),
            Self::Iam => f.write_str("IAM"),
            Self::NoPassword => f.write_str("no password"),
            Self::Other(other) => write!(f, "{other:?}"),
        }
    }
}

impl Login {
    /// As the API takes it. `AuthenticationMode` can say every change from one kind of login to another; the older
    /// parameter `Passwords` cannot.
    pub(super) fn mode(&self) -> types::AuthenticationMode {
        let builder = types::AuthenticationMode::builder();
        match self {
            Self::Passwords(passwords) => builder
                .r#type(InputAuthenticationType::Password)
                .set_passwords(Some(
                    passwords
                        .iter()
                        .map(|password| password.expose().clone())
                        .collect(),
                ))
                .build(),
            Self::Iam => builder.r#type(InputAuthenticationType::Iam).build(),
            Self::NoPassword => builder.r#type(InputAuthenticationType::NoPassword).build(),
        }
    }

    /// The passwords in it.
    pub(super) fn passwords(&self) -> &[Secret] {
        match self {
            Self::Passwords(passwords) => passwords,
            Self::Iam | Self::NoPassword => &[],
        }
    }
}

impl User {
    pub(super) fn read(shown: &types::User) -> Self {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Self {
            id: text(shown.user_id()),
            name: text(shown.user_name()),
            engine: text(shown.engine()).to_ascii_lowercase(),
            status: Status::read(shown.status()),
            access: text(shown.access_string()),
            authentication: Authentication::read(shown.authentication()),
            groups: shown.user_group_ids().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_is_parsed_from_the_api() {
        let shown = types::User::builder()
            .user_id("app-billing")
            .user_name("app-billing")
            .engine("REDIS")
            .status("Modifying")
            .access_string("on ~billing:* -@all +get")
            .user_group_ids("app-users")
            .authentication(
                types::Authentication::builder()
                    .r#type(AuthenticationType::Password)
                    .password_count(2)
                    .build(),
            )
            .build();
        let user = User::read(&shown);
        assert_eq!((user.engine.as_str(), user.status), ("redis", Status::Modifying));
        assert_eq!(user.authentication, Authentication::Password(2));
        assert_eq!(user.groups, ["app-users"]);
    }

    #[test]
    fn both_spellings_of_no_password_are_read() {
        for text in ["no-password", "no_password"] {
            let shown = types::Authentication::builder().r#type(text.into()).build();
            assert_eq!(
                Authentication::read(Some(&shown)),
                Authentication::NoPassword,
                "{text}"
            );
        }
        let shown = types::Authentication::builder().r#type("kerberos".into()).build();
        assert_eq!(
            Authentication::read(Some(&shown)),
            Authentication::Other("kerberos".to_owned())
        );
    }

    #[test]
    fn passwords_are_not_in_debug_output() {
        let user = NewUser {
            id: "a".to_owned(),
            name: "a".to_owned(),
            engine: "valkey".to_owned(),
            access: "on".to_owned(),
            login: Login::Passwords(vec!["Zk3-vv91!qLm0-xyW".into()]),
        };
        assert!(!format!("{user:?}").contains("Zk3"), "{user:?}");
    }
}
