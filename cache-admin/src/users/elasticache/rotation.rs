//! The two phases of a change of password at ElastiCache: first both are accepted, then only the new one.
//!
//! ElastiCache shows how many passwords a user has, not which. So a phase says what it cannot know instead of guessing.

use cache_aws::elasticache::Authentication;
use cache_core::ConfigError;

use super::super::account::{Account, Login};
use super::desired::{Desired, DesiredLogin};
use super::state::State;

/// Whether the first phase may begin for `account`, and what to know before it does.
///
/// # Errors
///
/// [`ConfigError`] if the declaration names no `next_password`.
pub fn may_add(account: &Account, desired: &Desired, state: &State) -> Result<Option<String>, ConfigError> {
    super::super::rotation::may_add(account)?;
    let found = found(account, desired, state);
    Ok((found == Some(&Authentication::Password(2))).then(|| {
        format!(
            "{} accepts two passwords already, and ElastiCache does not show which: from now on it accepts exactly the two \
             that are declared",
            account.name
        )
    }))
}

/// Whether the second phase may begin for `account`: the declaration names one way to log in. Also what to know before.
///
/// # Errors
///
/// [`ConfigError`] if `next_password` is still declared.
pub fn may_finish(
    account: &Account,
    desired: &Desired,
    state: &State,
) -> Result<Option<String>, ConfigError> {
    if matches!(account.login, Login::Password { next: Some(_), .. }) {
        return Err(ConfigError::one(
            account.path.clone(),
            "must name the new password as password and no next_password, so that the declaration says what is to stay",
        ));
    }
    let wanted = desired.id_of(&account.name).and_then(|id| desired.user(id));
    let said = match (wanted.map(|wanted| wanted.login), found(account, desired, state)) {
        (Some(DesiredLogin::Passwords(1)), Some(Authentication::Password(2))) => {
            "accepts two passwords: the one that is declared stays, a service that uses another one cannot log in again"
        }
        (Some(DesiredLogin::Passwords(1)), Some(Authentication::Password(1))) => {
            "accepts one password, and ElastiCache does not show which: `cachectl users verify --elasticache --try` tries the \
             declared one"
        }
        (Some(DesiredLogin::Iam), Some(Authentication::Password(_))) => {
            "logs in by password: it then logs in by tokens of IAM alone, a service that uses a password cannot log in again"
        }
        (Some(DesiredLogin::Passwords(_)), Some(Authentication::Iam)) => {
            "logs in by IAM: it then logs in by the declared password alone, a service that uses tokens cannot log in again"
        }
        _ => return Ok(None),
    };
    Ok(Some(format!("{} {said}", account.name)))
}

fn found<'a>(account: &Account, desired: &Desired, state: &'a State) -> Option<&'a Authentication> {
    let user = state.users.get(desired.id_of(&account.name)?)?;
    Some(&user.authentication)
}
