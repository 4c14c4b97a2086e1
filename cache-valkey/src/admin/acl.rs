//! Users of one node and what they may. Each node has its own: they are neither shared nor replicated.
//!
//! Not in here: who ought to exist. No command of a caller's own making passes through, but for a dry run, which
//! runs nothing.

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
    /// What it is and may.
    pub rules: AclRules,
}

/// Where a node has put its users down, so that they outlive a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AclSaved {
    /// In the file that `aclfile` names.
    AclFile,
    /// In its configuration file, with all its other settings as they are now (`CONFIG REWRITE`).
    ConfigFile,
    /// Nowhere; why.
    Nowhere(String),
}

/// One connection to a node, and who is logged in over it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AclSession {
    /// The user.
    pub user: String,
    /// Where the connection comes from.
    pub address: String,
    /// For how long there has been this connection.
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

    /// Makes `user` exactly this, whatever it was before, in one step. Its connections stay.
    ///
    /// # Errors
    ///
    /// [`CacheError::Rejected`] for rules that the server does not know; else as any call.
    pub async fn acl_set(&self, user: &AclUser) -> Result<(), CacheError> {
        let modifiers = user.rules.modifiers();
        let set = Command::write("ACL").arg("SETUSER").arg(&user.name);
        let set = modifiers.iter().fold(set, |set, modifier| set.arg(modifier));
        let done = self.acl(&set, "ACL SETUSER").await.map(drop);
        done.map_err(without_hashes)
    }

    /// Removes the user, and with it its connections; whether there was one.
    ///
    /// # Errors
    ///
    /// As any call. The user `default` cannot be removed.
    pub async fn acl_delete(&self, name: &str) -> Result<bool, CacheError> {
        let delete = Command::write("ACL").arg("DELUSER").arg(name);
        Ok(self.acl(&delete, "ACL DELUSER").await?.into_count()? > 0)
    }

    /// Puts the users down where that is possible: in the ACL file, else in the configuration file.
    ///
    /// # Errors
    ///
    /// Where the server tried and failed; else as any call. That there is no such file is no error.
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

    /// Whether `user` may run `command`, a name with its arguments. Nothing is run. Unlike [`may`](Self::may) it tells
    /// apart why it cannot be asked.
    ///
    /// # Errors
    ///
    /// [`CacheError::Rejected`] where there is no such user or command, or the number of arguments is wrong; else as any
    /// call.
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

    /// The connections to the node, and who each is.
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

/// A server repeats the word that it does not take, which may be a password's hash.
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
    fn a_line_of_the_list_is_a_user() {
        let user = AclUser::read(&Reply::Bulk("user app-a on ~a:* +get".into())).unwrap();
        assert_eq!(
            (user.name.as_str(), user.rules),
            ("app-a", AclRules::read("on ~a:* +get"))
        );
        assert!(AclUser::read(&Reply::Bulk("nonsense".into())).is_err());
    }

    #[test]
    fn a_connection_is_read_by_its_fields() {
        let line = "id=18 addr=127.0.0.1:5 laddr=127.0.0.1:6 fd=11 name=x age=70 idle=0 user=app-a lib-name=";
        let session = AclSession::read(line).unwrap();
        assert_eq!((session.user.as_str(), session.age.as_secs()), ("app-a", 70));
        assert_eq!(session.address, "127.0.0.1:5");
        assert!(AclSession::read("").is_none());
    }

    #[test]
    fn a_hash_that_a_server_repeats_is_cut_out() {
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
        fn whatever_a_server_lists_no_hash_of_it_is_shown(
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
