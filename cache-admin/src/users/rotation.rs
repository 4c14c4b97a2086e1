//! The two phases of a change of password: first both are accepted, then only the new one.
//!
//! Which password a connection logged in with, no server tells. What it does tell is how long it has been there.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheError, ConfigError};
use cache_valkey::admin::AclSession;
use futures::future::try_join_all;

use super::Node;
use super::account::{Account, Login};
use super::plan::{Change, Plan};

/// A connection that may have logged in with the password that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lingering {
    /// The node.
    pub address: String,
    /// The connection.
    pub session: AclSession,
}

/// Whether the first phase may begin for `account`.
///
/// # Errors
///
/// Where the declaration names no `next_password`.
pub fn may_add(account: &Account) -> Result<(), ConfigError> {
    match &account.login {
        Login::Password { next: Some(_), .. } => Ok(()),
        _ => Err(ConfigError::one(
            format!("{}.next_password", account.path),
            "must be declared for the first phase: it is the password that is to come",
        )),
    }
}

/// Whether the second phase may begin: the declaration names one password, and every node accepts it.
///
/// # Errors
///
/// Why it may not.
pub fn may_finish(account: &Account, plan: &Plan) -> Result<(), CacheError> {
    let refuse = |message: &str| Err(ConfigError::one(account.path.clone(), message).into());
    if !matches!(account.login, Login::Password { next: None, .. }) {
        return refuse(
            "must name the new password as password and no next_password, so that the declaration says what is to stay",
        );
    }
    for node in &plan.nodes {
        if let Some(error) = &node.error {
            return Err(error.clone());
        }
        let retires = |change: &Change| matches!(change, Change::RetirePasswords(_));
        if node.steps.iter().any(|step| !retires(&step.change)) {
            return refuse(
                "must be as declared on every node before old passwords go: apply the declaration, then give its \
                 clients the new password",
            );
        }
    }
    Ok(())
}

/// The connections of `user`, oldest first, that are older than `added`, which is how long ago the new password was
/// accepted first; all of them where that is not known.
///
/// # Errors
///
/// Where a node cannot be asked.
pub async fn lingering(
    nodes: &[Arc<dyn Node>],
    user: &str,
    added: Option<Duration>,
) -> Result<Vec<Lingering>, CacheError> {
    let sessions = try_join_all(nodes.iter().map(|node| node.sessions())).await?;
    let mut found = Vec::new();
    for (node, sessions) in nodes.iter().zip(sessions) {
        let of_user = sessions.into_iter().filter(|session| session.user == user);
        let old = of_user.filter(|session| added.is_none_or(|added| session.age >= added));
        found.extend(old.map(|session| Lingering {
            address: node.address().to_owned(),
            session,
        }));
    }
    found.sort_by_key(|lingering| std::cmp::Reverse(lingering.session.age));
    Ok(found)
}
