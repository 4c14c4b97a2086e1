//! A double of ElastiCache that keeps its rules: what it refuses, and that changes take time.
//!
//! Time is tokio's, which tests hold still.

#![expect(clippy::unwrap_used, reason = "a test ends where its double fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use cache_admin::users::elasticache::{Access, Service, State};
use cache_aws::elasticache::{
    Authentication, Login, NewUser, NewUserGroup, Status, User, UserChange, UserGroup,
};
use cache_core::clock::{self, Instant};
use cache_core::{CacheError, Outcome, Stage, Unavailability};
use tokio::sync::Notify;

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is lost on its way.
    LostBefore,
    /// Its answer is lost.
    LostAfter,
    /// It is not carried out and the caller waits for ever.
    KilledBefore,
    /// It is carried out and the caller waits for ever.
    KilledAfter,
    Throttled,
    /// It is refused with this code.
    Refused(&'static str),
}

#[derive(Debug)]
pub(super) struct Double {
    inner: Mutex<Inner>,
    /// Tells that a caller waits for ever.
    pub(super) hangs: Notify,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// The passwords that each user accepts.
    passwords: BTreeMap<String, Vec<String>>,
    /// Until when a change is under way, of users and (as `None`) of the group.
    until: BTreeMap<Option<String>, Instant>,
    takes: Duration,
    requests: usize,
    faults: BTreeMap<usize, Fault>,
    /// Names of the requests that changed something, with their subjects.
    log: Vec<String>,
    /// Users that could log in at some moment and later could not.
    locked_out: BTreeSet<String>,
    /// Users that are meant to be removed.
    may_go: BTreeSet<String>,
}

impl Double {
    /// Changes take `takes` each.
    pub(super) fn new(state: State, takes: Duration) -> Self {
        Self {
            inner: Mutex::new(Inner {
                state,
                passwords: BTreeMap::new(),
                until: BTreeMap::new(),
                takes,
                requests: 0,
                faults: BTreeMap::new(),
                log: Vec::new(),
                locked_out: BTreeSet::new(),
                may_go: BTreeSet::new(),
            }),
            hangs: Notify::new(),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.inner.lock().unwrap())
    }

    /// The request of that number, from 1, meets `fault`.
    pub(super) fn fail(&self, number: usize, fault: Fault) {
        self.with(|inner| inner.faults.insert(inner.requests + number, fault));
    }

    /// No request meets a fault any more.
    pub(super) fn forgive(&self) {
        self.with(|inner| inner.faults.clear());
    }

    pub(super) fn may_go(&self, id: &str) {
        self.with(|inner| inner.may_go.insert(id.to_owned()));
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        self.with(|inner| change(&mut inner.state));
    }

    pub(super) fn state(&self) -> State {
        self.with(|inner| {
            inner.settle();
            inner.state.clone()
        })
    }

    pub(super) fn passwords(&self, id: &str) -> Vec<String> {
        self.with(|inner| inner.passwords.get(id).cloned().unwrap_or_default())
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.with(|inner| inner.log.clone())
    }

    pub(super) fn requests(&self) -> usize {
        self.with(|inner| inner.requests)
    }

    pub(super) fn locked_out(&self) -> BTreeSet<String> {
        self.with(|inner| inner.locked_out.clone())
    }

    async fn request<T>(
        &self,
        name: &str,
        carry_out: impl FnOnce(&mut Inner) -> Result<T, CacheError>,
    ) -> Result<T, CacheError> {
        let fault = self.with(|inner| {
            inner.requests += 1;
            let requests = inner.requests;
            inner.faults.remove(&requests)
        });
        match fault {
            Some(Fault::LostBefore) => return Err(lost()),
            Some(Fault::KilledBefore) => {
                self.hangs.notify_one();
                std::future::pending::<()>().await;
            }
            Some(Fault::Throttled) => {
                return Err(CacheError::Unavailable {
                    reason: Unavailability::NotReady,
                    detail: "throttled".into(),
                    outcome: Outcome::NotApplied,
                    source: None,
                });
            }
            Some(Fault::Refused(code)) => return Err(rejected(code)),
            Some(Fault::LostAfter | Fault::KilledAfter) | None => {}
        }
        let answer = self.with(|inner| {
            inner.settle();
            let could = inner.usable();
            let answer = carry_out(inner);
            if answer.is_ok() && !name.is_empty() {
                inner.log.push(name.to_owned());
            }
            let can = inner.usable();
            let may_go = inner.may_go.clone();
            let lost = could.difference(&can).filter(|(id, _)| !may_go.contains(id));
            inner
                .locked_out
                .extend(lost.map(|(id, way)| format!("{id} by {way} at {name}")));
            answer
        });
        match fault {
            Some(Fault::LostAfter) => Err(lost()),
            Some(Fault::KilledAfter) => {
                self.hangs.notify_one();
                std::future::pending().await
            }
            _ => answer,
        }
    }
}

impl Inner {
    fn settle(&mut self) {
        let now = clock::now();
        let over: Vec<Option<String>> = self
            .until
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(what, _)| what.clone())
            .collect();
        for what in over {
            self.until.remove(&what);
            match what {
                None => {
                    if let Some(group) = &mut self.state.group {
                        group.status = Status::Active;
                    }
                }
                Some(id) => {
                    if let Some(user) = self.state.users.get_mut(&id) {
                        user.status = Status::Active;
                    }
                }
            }
        }
    }

    fn busy(&mut self, what: Option<&str>, status: Status) {
        let until = clock::now() + self.takes;
        self.until.insert(what.map(str::to_owned), until);
        match what {
            None => {
                if let Some(group) = &mut self.state.group {
                    group.status = status;
                }
            }
            Some(id) => {
                if let Some(user) = self.state.users.get_mut(id) {
                    user.status = status;
                }
            }
        }
    }

    /// Users of the group, with each way in which they can log in.
    fn usable(&self) -> BTreeSet<(String, String)> {
        let members = self.state.group.iter().flat_map(|group| &group.users);
        let found = members.filter_map(|id| self.state.users.get(id));
        let enabled = found.filter(|user| Access::read(&user.access).is_enabled());
        enabled
            .flat_map(|user| {
                let ways = match user.authentication {
                    Authentication::Password(_) => self.passwords.get(&user.id).cloned().unwrap_or_default(),
                    Authentication::Iam => vec!["iam".to_owned()],
                    _ => Vec::new(),
                };
                ways.into_iter().map(|way| (user.id.clone(), way))
            })
            .collect()
    }

    fn user(&mut self, id: &str) -> Result<&mut User, CacheError> {
        let user = self
            .state
            .users
            .get_mut(id)
            .ok_or_else(|| rejected("UserNotFound"))?;
        if user.status.is_active() {
            Ok(user)
        } else {
            Err(rejected("InvalidUserState"))
        }
    }

    fn group(&mut self) -> Result<&mut UserGroup, CacheError> {
        let group = self
            .state
            .group
            .as_mut()
            .ok_or_else(|| rejected("UserGroupNotFound"))?;
        if group.status.is_active() {
            Ok(group)
        } else {
            Err(rejected("InvalidUserGroupState"))
        }
    }

    fn log_in(&mut self, id: &str, login: &Login) -> Result<Authentication, CacheError> {
        Ok(match login {
            Login::Iam => Authentication::Iam,
            Login::NoPassword => Authentication::NoPassword,
            Login::Passwords(passwords) => {
                let is_taken =
                    |text: &String| (16..=128).contains(&text.len()) && !text.contains([',', '"', '/', '@']);
                let plain: Vec<String> = passwords
                    .iter()
                    .map(|password| password.expose().clone())
                    .collect();
                if plain.is_empty() || plain.len() > 2 || !plain.iter().all(is_taken) {
                    return Err(rejected("InvalidParameterValue"));
                }
                let count = u32::try_from(plain.len()).unwrap();
                self.passwords.insert(id.to_owned(), plain);
                Authentication::Password(count)
            }
        })
    }

    /// Whether these users may be a group together.
    fn fit(&self, users: &[String], engine: &str) -> Result<(), CacheError> {
        let mut names = BTreeSet::new();
        for id in users {
            let user = self.state.users.get(id).ok_or_else(|| rejected("UserNotFound"))?;
            if !names.insert(user.name.as_str()) {
                return Err(rejected("DuplicateUserName"));
            }
            if engine == "valkey" && user.authentication == Authentication::NoPassword
                || engine == "redis" && user.engine != "redis"
            {
                return Err(rejected("InvalidParameterCombination"));
            }
        }
        if engine == "redis" && !names.contains("default") {
            return Err(rejected("DefaultUserRequired"));
        }
        if users.len() > 100 {
            return Err(rejected("UserQuotaExceeded"));
        }
        Ok(())
    }
}

fn rejected(code: &'static str) -> CacheError {
    CacheError::Rejected {
        code: code.into(),
        detail: "says the double".into(),
    }
}

fn lost() -> CacheError {
    CacheError::Timeout {
        stage: Stage::Call,
        after: Duration::from_secs(5),
    }
}

#[async_trait]
impl Service for Double {
    async fn users(&self) -> Result<Vec<User>, CacheError> {
        self.request("", |inner| Ok(inner.state.users.values().cloned().collect()))
            .await
    }

    async fn group(&self, id: &str) -> Result<Option<UserGroup>, CacheError> {
        self.request("", |inner| {
            Ok(inner.state.group.clone().filter(|group| group.id == id))
        })
        .await
    }

    async fn create_user(&self, user: &NewUser) -> Result<(), CacheError> {
        self.request(&format!("create_user {}", user.id), |inner| {
            if inner.state.users.contains_key(&user.id) {
                return Err(rejected("UserAlreadyExists"));
            }
            if user.login == Login::Iam && user.id != user.name
                || user.login == Login::NoPassword && user.engine == "valkey"
            {
                return Err(rejected("InvalidParameterCombination"));
            }
            let authentication = inner.log_in(&user.id, &user.login)?;
            let shown = User {
                id: user.id.clone(),
                name: user.name.clone(),
                engine: user.engine.clone(),
                status: Status::Active,
                access: Access::read(&user.access).to_string(),
                authentication,
                groups: Vec::new(),
            };
            inner.state.users.insert(user.id.clone(), shown);
            Ok(())
        })
        .await
    }

    async fn modify_user(&self, id: &str, change: &UserChange) -> Result<(), CacheError> {
        self.request(&format!("modify_user {id}"), |inner| {
            let groups = inner.user(id)?.groups.clone();
            if let Some(login) = &change.login {
                let authentication = inner.log_in(id, login)?;
                inner.user(id)?.authentication = authentication;
            }
            if let Some(access) = &change.access {
                inner.user(id)?.access = Access::read(access).to_string();
            }
            inner.busy(Some(id), Status::Modifying);
            if !groups.is_empty() {
                inner.busy(None, Status::Modifying);
            }
            Ok(())
        })
        .await
    }

    async fn delete_user(&self, id: &str) -> Result<(), CacheError> {
        self.request(&format!("delete_user {id}"), |inner| {
            inner.user(id)?;
            inner.state.users.remove(id);
            if let Some(group) = &mut inner.state.group {
                group.users.retain(|user| user != id);
            }
            Ok(())
        })
        .await
    }

    async fn create_group(&self, group: &NewUserGroup) -> Result<(), CacheError> {
        self.request("create_group", |inner| {
            if inner.state.group.is_some() {
                return Err(rejected("UserGroupAlreadyExists"));
            }
            inner.fit(&group.users, &group.engine)?;
            inner.state.group = Some(UserGroup {
                id: group.id.clone(),
                engine: group.engine.clone(),
                status: Status::Creating,
                users: group.users.clone(),
                caches: Vec::new(),
            });
            for id in &group.users {
                inner.user(id)?.groups.push(group.id.clone());
            }
            inner.busy(None, Status::Creating);
            Ok(())
        })
        .await
    }

    async fn add_to_group(&self, id: &str, users: &[String]) -> Result<(), CacheError> {
        self.request(&format!("add_to_group {}", users.join(",")), |inner| {
            let group = inner.group()?;
            let engine = group.engine.clone();
            let all: Vec<String> = group.users.iter().chain(users).cloned().collect();
            inner.fit(&all, &engine)?;
            for user in users {
                inner.user(user)?.groups.push(id.to_owned());
            }
            inner.group()?.users = all;
            inner.busy(None, Status::Modifying);
            Ok(())
        })
        .await
    }

    async fn remove_from_group(&self, id: &str, users: &[String]) -> Result<(), CacheError> {
        self.request(&format!("remove_from_group {}", users.join(",")), |inner| {
            let group = inner.group()?;
            if !users.iter().all(|user| group.users.contains(user)) {
                return Err(rejected("InvalidParameterValue"));
            }
            let engine = group.engine.clone();
            let rest: Vec<String> = group
                .users
                .iter()
                .filter(|user| !users.contains(user))
                .cloned()
                .collect();
            inner.fit(&rest, &engine)?;
            inner.group()?.users = rest;
            for user in users {
                if let Some(user) = inner.state.users.get_mut(user) {
                    user.groups.retain(|other| other != id);
                }
            }
            inner.busy(None, Status::Modifying);
            Ok(())
        })
        .await
    }
}
