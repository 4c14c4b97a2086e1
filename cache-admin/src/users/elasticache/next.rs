//! The next step from what is there to what is declared: a pure function.
//!
//! It is asked again after every step, with what ElastiCache then shows. So a run that was killed goes on where it was,
//! and nothing needs to be remembered.
//!
//! The order keeps every declared user able to log in: users are created and corrected before they enter the group,
//! added before others are removed, removed before they are deleted, and each of these waits for the one before it.

use cache_aws::elasticache::{Authentication, Status, User, UserGroup};

use super::super::Scope;
use super::super::export::LARGEST_GROUP;
use super::Access;
use super::desired::{Desired, DesiredLogin, DesiredUser};
use super::state::State;
use super::step::{LoginChange, Step};

/// What a plan is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aim<'a> {
    pub(super) desired: &'a Desired,
    pub(super) scope: Scope<'a>,
    /// Whether the passwords of a rotation were sent already. Their number does not tell.
    pub(super) sent: bool,
}

/// Collects what has to be waited for.
#[derive(Debug, Default)]
struct Waiting {
    users: Vec<String>,
    group: bool,
}

impl<'a> Aim<'a> {
    /// The next step; `None` once everything is as declared and in force.
    pub(super) fn next(self, state: &State) -> Option<Step> {
        match self.scope {
            Scope::All => self.next_of_all(state),
            Scope::Only(id) | Scope::Retire(id) => self.next_of_one(state, id),
        }
    }

    /// The users that the group is to have.
    pub(super) fn members(self, state: &State) -> Vec<&'a DesiredUser> {
        let default = self.desired.default.as_ref();
        let default = default.filter(|default| !has_other_default(state, default));
        default.into_iter().chain(self.desired.users.values()).collect()
    }

    /// The users that are to go: they have the prefix, in name and id, and are not declared.
    pub(super) fn undeclared(self, state: &State) -> Vec<&User> {
        let prefix = self.desired.prefix.as_str();
        let is_declared = |user: &User| {
            let mut declared = self.desired.users.values();
            declared.any(|known| known.id == user.id || known.name == user.name)
        };
        let users = state.users.values();
        users
            .filter(|user| user.name.starts_with(prefix) && user.id.starts_with(prefix) && !is_declared(user))
            .collect()
    }

    fn next_of_one(self, state: &State, id: &str) -> Option<Step> {
        let (wanted, found) = (self.desired.user(id)?, state.users.get(id)?);
        let mut waiting = Waiting::default();
        if !found.status.is_active() {
            waiting.users.push(id.to_owned());
            return waiting.step();
        }
        if let Some(step) = self.modify(wanted, found) {
            return Some(step);
        }
        waiting.group = state
            .group
            .as_ref()
            .is_some_and(|group| !group.status.is_active());
        waiting.step()
    }

    fn next_of_all(self, state: &State) -> Option<Step> {
        let members = self.members(state);
        let mut waiting = Waiting::default();
        for wanted in &members {
            match state.users.get(&wanted.id) {
                None => return Some(create(wanted)),
                // What is shown while a change is under way may be either the old or the new.
                Some(found) if !found.status.is_active() => waiting.users.push(wanted.id.clone()),
                Some(found) => {
                    if let Some(step) = self.modify(wanted, found) {
                        return Some(step);
                    }
                }
            }
        }
        if let Some(group) = &state.group {
            waiting.group = !group.status.is_active();
        }
        if let Some(step) = waiting.step() {
            return Some(step);
        }
        match &state.group {
            None => Some(Step::CreateGroup {
                users: members.iter().map(|user| user.id.clone()).collect(),
            }),
            Some(group) => self.next_of_group(state, group, &members),
        }
    }

    /// All declared users are there, as declared and active, and so is the group.
    fn next_of_group(self, state: &State, group: &UserGroup, members: &[&DesiredUser]) -> Option<Step> {
        let missing: Vec<String> = members
            .iter()
            .filter(|user| !group.users.contains(&user.id))
            .map(|user| user.id.clone())
            .collect();
        let undeclared = self.undeclared(state);
        let excess: Vec<String> = undeclared
            .iter()
            .filter(|user| group.users.contains(&user.id))
            .map(|user| user.id.clone())
            .collect();
        // Only a full group makes room first.
        let fits = group.users.len() + missing.len() <= LARGEST_GROUP;
        if !missing.is_empty() && (fits || excess.is_empty()) {
            return Some(Step::AddToGroup { users: missing });
        }
        if !excess.is_empty() {
            return Some(Step::RemoveFromGroup { users: excess });
        }
        let mut waiting = Waiting::default();
        for user in undeclared {
            let leaves = user.groups.contains(&group.id);
            match &user.status {
                // It goes by itself.
                Status::Deleting => {}
                _ if leaves => waiting.users.push(user.id.clone()),
                _ if !user.groups.is_empty() => {}
                Status::Active => {
                    return Some(Step::DeleteUser { id: user.id.clone() });
                }
                _ => waiting.users.push(user.id.clone()),
            }
        }
        waiting.step()
    }

    /// What has to change about a user that is there and active.
    fn modify(self, wanted: &DesiredUser, found: &User) -> Option<Step> {
        let access = Access::read(&found.access);
        let login = self.login_change(wanted, found);
        if access == wanted.access && login.is_none() {
            return None;
        }
        Some(Step::ModifyUser {
            id: wanted.id.clone(),
            add: wanted.access.beyond(&access),
            remove: access.beyond(&wanted.access),
            login,
        })
    }

    /// A way to log in is added at once and taken away by the end of a rotation alone: someone may still use it.
    fn login_change(self, wanted: &DesiredUser, found: &User) -> Option<LoginChange> {
        let retires = matches!(self.scope, Scope::Retire(_));
        let resends = matches!(self.scope, Scope::Only(_)) && !self.sent;
        let changes = match (wanted.login, &found.authentication) {
            (DesiredLogin::Passwords(wanted), Authentication::Password(found)) => {
                *found < wanted || retires && *found > wanted || resends && wanted > 1
            }
            // A user that anyone may be is closed at once.
            (DesiredLogin::Passwords(_) | DesiredLogin::Iam, Authentication::NoPassword) => true,
            (DesiredLogin::Passwords(_), Authentication::Iam)
            | (DesiredLogin::Iam, Authentication::Password(_)) => retires,
            (DesiredLogin::Iam, Authentication::Iam)
            // The user named default is switched off, however it would log in.
            | (DesiredLogin::NoPassword, _)
            | (_, Authentication::Other(_)) => false,
        };
        changes.then(|| LoginChange {
            from: found.authentication.clone(),
            to: wanted.login.shown(),
        })
    }
}

impl Waiting {
    fn step(self) -> Option<Step> {
        (self.group || !self.users.is_empty()).then_some(Step::Wait {
            users: self.users,
            group: self.group,
        })
    }
}

/// Whether the group has a user named `default` that is not ours. It is left alone.
fn has_other_default(state: &State, ours: &DesiredUser) -> bool {
    let members = state.group.iter().flat_map(|group| &group.users);
    let mut users = members
        .filter(|id| **id != ours.id)
        .filter_map(|id| state.users.get(id));
    users.any(|user| user.name == ours.name)
}

fn create(wanted: &DesiredUser) -> Step {
    Step::CreateUser {
        id: wanted.id.clone(),
        access: wanted.text.clone(),
        login: wanted.login.shown(),
    }
}
