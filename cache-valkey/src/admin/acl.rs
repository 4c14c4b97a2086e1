//! The users of one node and their rights. Nodes neither share nor replicate their users.
//!
//! Not in here: which users should exist. The only command that a caller may choose freely goes to a dry run, which
//! executes nothing.

mod password;
mod rules;

use std::time::Duration;

use cache_core::CacheError;

pub use password::PasswordHash;
pub use rules::AclRules;

use super::{Member, Permission};
use crate::command::Command;
use crate::error::accept;
use crate::reply::Reply;

/// A user as a node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclUser {
    /// Its name.
    pub name: String,
    /// Its state and rights.
    pub rules: AclRules,
}

/// Where a node saved its users, so that they survive a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AclSaved {
    /// In the file that `aclfile` names.
    AclFile,
    /// In its configuration file, together with all its other current settings (`CONFIG REWRITE`).
    ConfigFile,
    /// Nowhere, and why.
    Nowhere(String),
}

/// One connection to a node, and the user that is logged in over it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AclSession {
    /// The user.
    pub user: String,
    /// Where the connection comes from.
    pub address: String,
    /// How long the connection has existed.
    pub age: Duration,
}

impl Member {
    /// All users of the node.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn acl_users(&self) -> Result<Vec<AclUser>, CacheError> {
        let reply = self.acl(&Command::read("ACL").arg("LIST"), "ACL LIST").await?;
        let lines = reply.into_array()?;
        lines.iter().map(AclUser::read).collect()
    }

    /// Replaces the rules of `user` with exactly these, in one step. Its connections stay open.
    ///
    /// # Errors
    ///
    /// [`CacheError::Rejected`] for rules that the server does not know, otherwise as any call.
    pub async fn acl_set(&self, user: &AclUser) -> Result<(), CacheError> {
        let modifiers = user.rules.modifiers();
        let set = Command::write("ACL").arg("SETUSER").arg(&user.name);
        let set = modifiers.iter().fold(set, |set, modifier| set.arg(modifier));
        let done = self.acl(&set, "ACL SETUSER").await.map(drop);
        done.map_err(without_hashes)
    }

    /// Removes the user and closes its connections. Returns whether it existed.
    ///
    /// # Errors
    ///
    /// As any call. The user `default` cannot be removed.
    pub async fn acl_delete(&self, name: &str) -> Result<bool, CacheError> {
        let delete = Command::write("ACL").arg("DELUSER").arg(name);
        Ok(self.acl(&delete, "ACL DELUSER").await?.into_count()? > 0)
    }

    /// Saves the users: in the ACL file if there is one, else in the configuration file.
    ///
    /// # Errors
    ///
    /// If the server tried to save and failed; otherwise as any call. A missing file is not an error.
    pub async fn acl_save(&self) -> Result<AclSaved, CacheError> {
        match self.acl(&Command::write("ACL").arg("SAVE"), "ACL SAVE").await {
            Ok(_) => return Ok(AclSaved::AclFile),
            Err(CacheError::Rejected { detail, .. }) if detail.contains("not configured to use an ACL") => {}
            Err(error) => return Err(error),
        }
        let rewrite = Command::write("CONFIG").arg("REWRITE");
        let nowhere = |why: &str| Ok(AclSaved::Nowhere(format!("the node has no ACL file, and {why}")));
        match self.acl(&rewrite, "CONFIG REWRITE").await {
            Ok(_) => Ok(AclSaved::ConfigFile),
            Err(CacheError::Rejected { detail, .. }) if detail.contains("without a config file") => {
                nowhere("no configuration file")
            }
            Err(CacheError::Denied { .. }) => nowhere("the user may not run CONFIG REWRITE"),
            Err(error) => Err(error),
        }
    }

    /// Whether `user` may run `command`, a name with its arguments. Executes nothing. Unlike [`may`](Self::may), its
    /// error says why the server cannot be asked.
    ///
    /// # Errors
    ///
    /// [`CacheError::Rejected`] if there is no such user or command, or the number of arguments is wrong; otherwise
    /// as any call.
    pub async fn acl_dry_run(&self, user: &str, command: &[&str]) -> Result<Permission, CacheError> {
        let dry_run = Command::read("ACL").arg("DRYRUN").arg(user);
        let dry_run = command.iter().fold(dry_run, |dry_run, word| dry_run.arg(*word));
        let reply = self.acl(&dry_run, "ACL DRYRUN").await?;
        match reply.as_text() {
            Some("OK") => Ok(Permission::Allowed),
            Some(words) => Ok(Permission::Refused(words.to_owned())),
            None => Err(reply.unexpected("a verdict")),
        }
    }

    /// The categories of commands that the node knows, without `@`.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn acl_categories(&self) -> Result<Vec<String>, CacheError> {
        let reply = self.acl(&Command::read("ACL").arg("CAT"), "ACL CAT").await?;
        let names = reply.into_array()?.into_iter();
        names
            .map(|name| {
                let text = name.as_text().map(str::to_owned);
                text.ok_or_else(|| name.unexpected("a name"))
            })
            .collect()
    }

    /// The connections to the node, and the user of each.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn acl_sessions(&self) -> Result<Vec<AclSession>, CacheError> {
        let list = Command::read("CLIENT").arg("LIST");
        let reply = self.acl(&list, "CLIENT LIST").await?;
        let text = reply.as_text().ok_or_else(|| reply.unexpected("text"))?;
        Ok(text.lines().filter_map(AclSession::read).collect())
    }

    async fn acl(&self, command: &Command<'_>, name: &'static str) -> Result<Reply, CacheError> {
        let mut replies = self.ask(&[command]).await?.into_iter();
        accept(replies.next().unwrap_or(Reply::Nil), name)
    }
}

impl AclUser {
    fn read(line: &Reply) -> Result<Self, CacheError> {
        let words = line.as_text().and_then(|text| text.strip_prefix("user "));
        let (name, rules) = words
            .and_then(|words| words.split_once(' '))
            .ok_or_else(|| line.unexpected("a user"))?;
        Ok(Self {
            name: name.to_owned(),
            rules: AclRules::read(rules),
        })
    }
}

impl AclSession {
    fn read(line: &str) -> Option<Self> {
        let field = |name: &str| {
            let mut fields = line.split(' ').filter_map(|field| field.split_once('='));
            fields.find(|(own, _)| *own == name).map(|(_, value)| value)
        };
        Some(Self {
            user: field("user")?.to_owned(),
            address: field("addr").unwrap_or_default().to_owned(),
            age: Duration::from_secs(field("age")?.parse().ok()?),
        })
    }
}

/// Servers repeat the word that they refuse, and that may be a password hash.
fn without_hashes(error: CacheError) -> CacheError {
    match error {
        CacheError::Rejected { code, detail } if detail.contains('#') => CacheError::Rejected {
            code,
            detail: detail
                .split_inclusive('\'')
                .map(|part| {
                    if part.starts_with('#') {
                        "a password hash'"
                    } else {
                        part
                    }
                })
                .collect::<String>()
                .into(),
        },
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use crate::reply::foreign::{mangled, reply};

    use super::*;

    #[test]
    fn acl_list_line_is_parsed_as_user() {
        let user = AclUser::read(&Reply::Bulk("user app-a on ~a:* +get".into())).unwrap();
        assert_eq!(
            (user.name.as_str(), user.rules),
            ("app-a", AclRules::read("on ~a:* +get"))
        );
        assert!(AclUser::read(&Reply::Bulk("nonsense".into())).is_err());
    }

    #[test]
    fn client_list_line_is_parsed_as_session() {
        let line = "id=18 addr=127.0.0.1:5 laddr=127.0.0.1:6 fd=11 name=x age=70 idle=0 user=app-a lib-name=";
        let session = AclSession::read(line).unwrap();
        assert_eq!((session.user.as_str(), session.age.as_secs()), ("app-a", 70));
        assert_eq!(session.address, "127.0.0.1:5");
        assert!(AclSession::read("").is_none());
    }

    #[test]
    fn password_hash_in_server_error_is_removed() {
        let error = CacheError::Rejected {
            code: "ERR".into(),
            detail: "Error in ACL SETUSER modifier '#5e88': The provided password hash must be 64".into(),
        };
        assert_eq!(
            without_hashes(error).to_string(),
            "rejected by the server, ERR: Error in ACL SETUSER modifier 'a password hash': The provided password hash \
             must be 64"
        );
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_server_lists_never_show_a_hash(
            user in mangled("user app-a on #5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8 (%R~a:* +get) ~b:* &* +@all -keys"),
            session in mangled("id=18 addr=127.0.0.1:5 age=70 user=app-a"),
            reply in reply(&["user a on", "user ", "#00"]),
        ) {
            for reply in [Reply::Bulk(user.into()), reply] {
                match AclUser::read(&reply) {
                    Ok(user) => {
                        let shown = format!("{:?}", user.rules);
                        proptest::prop_assert!(!shown.contains("\"#") && !shown.contains("(#"), "{}", shown);
                    }
                    Err(error) => proptest::prop_assert_eq!(error.kind(), "corrupt"),
                }
            }
            let _whatever = AclSession::read(&session);
        }
    }
}
