//! What there is at ElastiCache, and what a step makes of it.

use std::collections::BTreeMap;

use cache_aws::elasticache::{Authentication, Status, User, UserGroup};

use super::desired::{Desired, DesiredLogin, DesiredUser};
use super::step::Step;

/// The users of an account and region, and the user group in question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// By id.
    pub users: BTreeMap<String, User>,
    /// The group, if there is one.
    pub group: Option<UserGroup>,
}

impl State {
    /// From what ElastiCache shows.
    #[must_use]
    pub fn new(users: Vec<User>, group: Option<UserGroup>) -> Self {
        let users = users.into_iter().map(|user| (user.id.clone(), user));
        Self {
            users: users.collect(),
            group,
        }
    }

    /// Whether that user is in the group. A user that was removed a moment ago may still say so itself.
    pub(super) fn is_member(&self, id: &str, group: &str) -> bool {
        let of_group = self
            .group
            .as_ref()
            .map(|group| group.users.iter().any(|user| user == id));
        let says = |user: &User| user.groups.iter().any(|other| other == group);
        of_group == Some(true) || self.users.get(id).is_some_and(says)
    }

    /// What ElastiCache is expected to show after `step`. This is what plans are made by; what is really there is looked
    /// at before each step.
    #[must_use]
    pub fn after(mut self, step: &Step, desired: &Desired) -> Self {
        match step {
            Step::CreateUser { id, .. } => {
                if let Some(user) = desired.user(id) {
                    self.users.insert(id.clone(), user.created(&desired.engine));
                }
            }
            Step::ModifyUser { id, login, .. } => {
                if let (Some(found), Some(user)) = (self.users.get_mut(id), desired.user(id)) {
                    found.access.clone_from(&user.text);
                    found.status = Status::Modifying;
                    if let Some(login) = login {
                        found.authentication = login.to.clone();
                    }
                }
                if self.is_member(id, &desired.group)
                    && let Some(group) = &mut self.group
                {
                    group.status = Status::Modifying;
                }
            }
            Step::CreateGroup { users } => {
                self.group = Some(UserGroup {
                    id: desired.group.clone(),
                    engine: desired.engine.clone(),
                    status: Status::Creating,
                    users: users.clone(),
                    caches: Vec::new(),
                });
                self.join(users, &desired.group);
            }
            Step::AddToGroup { users } => {
                if let Some(group) = &mut self.group {
                    group.users.extend(users.iter().cloned());
                    group.status = Status::Modifying;
                }
                self.join(users, &desired.group);
            }
            Step::RemoveFromGroup { users } => {
                if let Some(group) = &mut self.group {
                    group.users.retain(|user| !users.contains(user));
                    group.status = Status::Modifying;
                }
                for id in users {
                    if let Some(user) = self.users.get_mut(id) {
                        user.groups.retain(|other| *other != desired.group);
                        user.status = Status::Modifying;
                    }
                }
            }
            Step::DeleteUser { id } => drop(self.users.remove(id)),
            Step::Wait { users, group } => self.settle(users, *group),
        }
        self
    }

    fn join(&mut self, users: &[String], group: &str) {
        for id in users {
            if let Some(user) = self.users.get_mut(id) {
                user.groups.push(group.to_owned());
                user.status = Status::Modifying;
            }
        }
    }

    /// What was under way is over.
    fn settle(&mut self, users: &[String], group: bool) {
        for id in users {
            match self.users.get_mut(id) {
                Some(user) if user.status == Status::Deleting => {
                    self.users.remove(id);
                    if let Some(group) = &mut self.group {
                        group.users.retain(|user| user != id);
                    }
                }
                Some(user) => {
                    user.status = Status::Active;
                    if let Some(group) = &self.group
                        && !group.users.contains(id)
                    {
                        user.groups.retain(|other| *other != group.id);
                    }
                }
                None => {}
            }
        }
        match &mut self.group {
            Some(found) if group && found.status == Status::Deleting => self.group = None,
            Some(found) if group => found.status = Status::Active,
            _ => {}
        }
    }
}

impl DesiredUser {
    /// As ElastiCache shows it once it was created.
    fn created(&self, engine: &str) -> User {
        User {
            id: self.id.clone(),
            name: self.name.clone(),
            engine: engine.to_owned(),
            status: Status::Creating,
            access: self.text.clone(),
            authentication: self.login.shown(),
            groups: Vec::new(),
        }
    }
}

impl DesiredLogin {
    /// As ElastiCache shows it.
    pub(super) const fn shown(self) -> Authentication {
        match self {
            Self::Passwords(count) => Authentication::Password(count),
            Self::Iam => Authentication::Iam,
            Self::NoPassword => Authentication::NoPassword,
        }
    }
}
