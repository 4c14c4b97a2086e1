//! Users at ElastiCache without ElastiCache: the planner as a pure function, and runs against a double that keeps
//! ElastiCache's rules.

mod double;
mod planning;
mod running;

use anyhow::Result;
use cache_admin::users::elasticache::{Desired, GroupPlan, State};
use cache_admin::users::{Credentials, Declaration, Scope};
use cache_aws::elasticache::{Authentication, Status, User, UserGroup};

/// One user by password, one whose password is being changed, one by IAM, one without keys.
const DECLARED: &str = "
prefix = 'app-'

[services.billing]
keyspaces = ['billing:']
[services.billing.users.service]
password = 'env:BILLING'
[services.billing.users.reader]
password = 'env:READER'
next_password = 'env:READER_NEXT'

[services.search]
keyspaces = ['search:']
[services.search.users.service]
iam = true

[admins.board]
role = 'viewer'
password = 'env:BOARD'
[admins.keeper]
role = 'acl-admin'
password = 'env:KEEPER'

[elasticache]
engine = 'valkey'
";

/// A password for the variable `name` that ElastiCache takes.
fn password(name: &str) -> String {
    format!("Zk3-vv91!qLm0-{}", name.to_lowercase())
}

/// A declaration, its passwords, and what it means at ElastiCache.
struct Declared {
    declaration: Declaration,
    credentials: Credentials,
    desired: Desired,
}

impl Declared {
    fn read(text: &str) -> Result<Self> {
        let declaration = Declaration::parse(text)?;
        let credentials = Credentials::read(&declaration, |name| Some(password(name)))?;
        let desired = Desired::of(&declaration, &credentials, None)?;
        Ok(Self {
            declaration,
            credentials,
            desired,
        })
    }

    fn of(engine: &str) -> Result<Self> {
        Self::read(&DECLARED.replace("'valkey'", &format!("'{engine}'")))
    }

    fn plan(&self, state: &State) -> GroupPlan {
        GroupPlan::make(&self.desired, state, Scope::All)
    }
}

fn user(id: &str, access: &str, authentication: Authentication) -> User {
    User {
        id: id.to_owned(),
        name: id.to_owned(),
        engine: "valkey".to_owned(),
        status: Status::Active,
        access: access.to_owned(),
        authentication,
        groups: Vec::new(),
    }
}

fn group(users: &[&str]) -> UserGroup {
    UserGroup {
        id: "app-users".to_owned(),
        engine: "valkey".to_owned(),
        status: Status::Active,
        users: users.iter().map(|&user| user.to_owned()).collect(),
        caches: vec!["app-cache".to_owned()],
    }
}

/// A state in which users know the groups that they are in.
fn state(users: Vec<User>, group: Option<UserGroup>) -> State {
    let mut state = State::new(users, group);
    if let Some(group) = &state.group {
        for id in &group.users {
            if let Some(user) = state.users.get_mut(id) {
                user.groups.push(group.id.clone());
            }
        }
    }
    state
}
