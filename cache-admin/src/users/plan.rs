//! What would have to change, node by node, for the users to be as declared.
//!
//! Users whose names start with the declaration's prefix are its own; all others are left alone. A password is
//! added by a plan and never taken away, unless the plan is the end of a rotation: whoever still uses it would be
//! locked out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cache_core::CacheError;
use cache_valkey::admin::{AclRules, AclUser};
use futures::future::join_all;

use super::account::{Account, Login};
use super::{Credentials, Declaration, Node};

/// Which users a plan is about, and what becomes of passwords that are not declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// All of them; passwords are added only.
    All,
    /// This one; passwords are added only.
    Only(&'a str),
    /// This one; passwords that are not declared are taken away.
    Retire(&'a str),
}

/// What would have to change.
#[derive(Debug)]
#[non_exhaustive]
pub struct Plan {
    /// Each node.
    pub nodes: Vec<NodePlan>,
    /// Users of others, by name: left alone.
    pub foreign: BTreeSet<String>,
    /// Those of them that may do everything without a password.
    pub unguarded: BTreeSet<String>,
    /// Why it must not be applied as it is.
    pub blocked: Vec<String>,
}

/// What would have to change on one node.
#[derive(Debug)]
#[non_exhaustive]
pub struct NodePlan {
    pub(super) node: Arc<dyn Node>,
    /// The users to change, as they were.
    pub(super) seen: BTreeMap<String, AclRules>,
    /// The changes; those that take something away from a user come last.
    pub steps: Vec<Step>,
    /// Passwords that are not declared and stay.
    pub held: Vec<Held>,
    /// Why nothing is known of the node.
    pub error: Option<CacheError>,
}

/// One change to one user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// The user.
    pub user: String,
    /// What is changed.
    pub change: Change,
    /// What it then is.
    pub(super) rules: AclRules,
}

/// What is changed about a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// There was none of that name.
    Create,
    /// Its rules differ.
    Update {
        /// Rules that it lacks.
        add: BTreeSet<String>,
        /// Rules that it has and is not to have.
        remove: BTreeSet<String>,
        /// How many passwords it lacks besides.
        passwords: usize,
    },
    /// It lacks so many passwords, and is right otherwise.
    AddPasswords(usize),
    /// It loses so many passwords, which are not declared.
    RetirePasswords(usize),
    /// It is not declared.
    Delete,
}

/// Passwords of a user that are not declared and stay until a rotation is finished.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// The user.
    pub user: String,
    /// How many.
    pub passwords: usize,
}

/// A user that differs on one node from what it is on others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drift {
    /// The user.
    pub user: String,
    /// The node.
    pub address: String,
    /// Whether it is a replica.
    pub replica: bool,
    /// Whether there is no such user on it.
    pub missing: bool,
}

impl Plan {
    /// Compares the nodes with the declaration. A node that cannot be asked is part of the plan, with its error.
    pub async fn make(
        declaration: &Declaration,
        credentials: &Credentials,
        nodes: &[Arc<dyn Node>],
        scope: Scope<'_>,
    ) -> Self {
        let mut blocked: Vec<String> = declaration
            .accounts()
            .iter()
            .filter(|account| scope.has(&account.name) && account.login == Login::Iam)
            .map(|account| {
                format!(
                    "{}: iam works on ElastiCache only; these servers ask for a password",
                    account.path
                )
            })
            .collect();
        let looks = join_all(
            nodes
                .iter()
                .map(|node| Look::at(declaration, credentials, node, scope)),
        )
        .await;
        let (mut foreign, mut unguarded) = (BTreeSet::new(), BTreeSet::new());
        let mut plans = Vec::new();
        for (node, look) in nodes.iter().zip(looks) {
            let mut plan = NodePlan {
                node: Arc::clone(node),
                seen: BTreeMap::new(),
                steps: Vec::new(),
                held: Vec::new(),
                error: None,
            };
            match look {
                Ok(look) => {
                    foreign.extend(look.foreign);
                    unguarded.extend(look.unguarded);
                    blocked.extend(look.blocked);
                    (plan.steps, plan.held, plan.seen) = (look.steps, look.held, look.seen);
                }
                Err(error) => plan.error = Some(error),
            }
            plans.push(plan);
        }
        blocked.sort_unstable();
        blocked.dedup();
        Self {
            nodes: plans,
            foreign,
            unguarded,
            blocked,
        }
    }

    /// Whether every node could be asked and nothing has to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes
            .iter()
            .all(|node| node.steps.is_empty() && node.error.is_none())
    }

    /// How many changes there are.
    #[must_use]
    pub fn step_count(&self) -> usize {
        self.nodes.iter().map(|node| node.steps.len()).sum()
    }

    /// Users that are as declared on some nodes and not on others: a change that missed a node, or one by hand.
    #[must_use]
    pub fn drift(&self) -> Vec<Drift> {
        let asked: Vec<&NodePlan> = self.nodes.iter().filter(|node| node.error.is_none()).collect();
        let mut wanting: BTreeMap<&str, Vec<(&NodePlan, &Step)>> = BTreeMap::new();
        for node in &asked {
            for step in &node.steps {
                wanting.entry(&step.user).or_default().push((*node, step));
            }
        }
        let partly = wanting.values().filter(|found| found.len() < asked.len());
        partly
            .flatten()
            .map(|(node, step)| Drift {
                user: step.user.clone(),
                address: node.address().to_owned(),
                replica: node.is_replica(),
                missing: step.change == Change::Create,
            })
            .collect()
    }
}

impl NodePlan {
    /// Where the node is.
    #[must_use]
    pub fn address(&self) -> &str {
        self.node.address()
    }

    /// Whether it is a replica.
    #[must_use]
    pub fn is_replica(&self) -> bool {
        self.node.is_replica()
    }
}

impl Step {
    /// Whether it removes a user.
    #[must_use]
    pub fn is_delete(&self) -> bool {
        self.change == Change::Delete
    }
}

impl Scope<'_> {
    fn has(self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(only) | Self::Retire(only) => only == name,
        }
    }
}

/// What was seen on one node.
#[derive(Debug, Default)]
struct Look {
    seen: BTreeMap<String, AclRules>,
    steps: Vec<Step>,
    held: Vec<Held>,
    foreign: Vec<String>,
    unguarded: Vec<String>,
    blocked: Vec<String>,
}

impl Look {
    async fn at(
        declaration: &Declaration,
        credentials: &Credentials,
        node: &Arc<dyn Node>,
        scope: Scope<'_>,
    ) -> Result<Self, CacheError> {
        let users = node.users().await?;
        let ourselves = node.whoami().await?;
        let wanted = wanted(declaration, credentials, node, scope).await?;
        let mut look = Self::default();
        for want in &wanted {
            let found = users.iter().find(|user| user.name == want.name);
            look.compare(want, found, matches!(scope, Scope::Retire(_)));
        }
        let (own, foreign): (Vec<&AclUser>, Vec<&AclUser>) = users
            .iter()
            .partition(|user| user.name.starts_with(declaration.prefix()));
        look.foreign = foreign.iter().map(|user| user.name.clone()).collect();
        let may_all = |user: &&&AclUser| {
            let rules = &user.rules;
            rules.enabled && rules.passwordless && rules.permissions.contains("+@all")
        };
        let unguarded = foreign.iter().filter(may_all);
        look.unguarded = unguarded.map(|user| user.name.clone()).collect();
        let is_declared = |name: &str| declaration.accounts().iter().any(|account| account.name == name);
        let gone = own
            .into_iter()
            .filter(|user| scope == Scope::All && !is_declared(&user.name));
        look.steps.extend(gone.map(|user| Step {
            user: user.name.clone(),
            change: Change::Delete,
            rules: AclRules::default(),
        }));
        look.guard(&ourselves);
        let is_changed = |user: &AclUser| look.steps.iter().any(|step| step.user == user.name);
        look.seen = users
            .iter()
            .filter(|user| is_changed(user))
            .map(|user| (user.name.clone(), user.rules.clone()))
            .collect();
        Ok(look)
    }

    fn compare(&mut self, want: &AclUser, found: Option<&AclUser>, retire: bool) {
        let step = |change, rules| Step {
            user: want.name.clone(),
            change,
            rules,
        };
        let Some(found) = found else {
            self.steps.push(step(Change::Create, want.rules.clone()));
            return;
        };
        let missing = want.rules.passwords.difference(&found.rules.passwords).count();
        let extra = found.rules.passwords.difference(&want.rules.passwords).count();
        let mut rules = want.rules.clone();
        if !retire {
            rules.passwords.extend(found.rules.passwords.iter().cloned());
            if extra > 0 {
                self.held.push(Held {
                    user: want.name.clone(),
                    passwords: extra,
                });
            }
        }
        if rules == found.rules {
            return;
        }
        let (told, meant) = (in_words(&found.rules), in_words(&want.rules));
        let change = if told != meant {
            Change::Update {
                add: meant.difference(&told).cloned().collect(),
                remove: told.difference(&meant).cloned().collect(),
                passwords: missing,
            }
        } else if missing > 0 {
            Change::AddPasswords(missing)
        } else {
            Change::RetirePasswords(extra)
        };
        self.steps.push(step(change, rules));
    }

    /// Does not let the plan take away what is needed to finish it.
    fn guard(&mut self, ourselves: &str) {
        for step in self.steps.iter().filter(|step| step.user == ourselves) {
            if step.is_delete() {
                self.blocked.push(format!(
                    "{ourselves} is the user of this connection and is not declared: connect as another one to remove it"
                ));
            } else if !step.rules.permissions.contains("+acl|setuser") {
                self.blocked.push(format!(
                    "{ourselves} is the user of this connection and would lose the right to manage users: connect as \
                     another one"
                ));
            }
        }
    }
}

/// All about a user but its passwords.
fn in_words(rules: &AclRules) -> BTreeSet<String> {
    let mut words = rules.permissions.clone();
    words.insert(rules.word().to_owned());
    words.extend(rules.passwordless.then(|| "nopass".to_owned()));
    words
}

/// The users that are to be on `node`, with the commands that it knows.
async fn wanted(
    declaration: &Declaration,
    credentials: &Credentials,
    node: &Arc<dyn Node>,
    scope: Scope<'_>,
) -> Result<Vec<AclUser>, CacheError> {
    let target = declaration.target();
    let accounts = declaration.accounts().iter();
    let accounts: Vec<&Account> = accounts.filter(|account| scope.has(&account.name)).collect();
    let mut needed = BTreeSet::new();
    for account in &accounts {
        needed.extend(account.permissions(target).all_commands().cloned());
    }
    let names: Vec<&str> = needed.iter().map(|granted| granted.command.as_str()).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let known = node.knows(&names).await?;
    let unknown: BTreeSet<_> = needed
        .iter()
        .zip(known)
        .filter(|(_, known)| !known)
        .map(|(one, _)| one.clone())
        .collect();
    let lacking: Vec<&str> = unknown
        .iter()
        .filter(|granted| granted.since.is_none())
        .map(|granted| granted.command.as_str())
        .collect();
    if !lacking.is_empty() {
        return Err(CacheError::Unsupported {
            detail: format!("the node does not know the commands {}", lacking.join(", ")).into(),
        });
    }
    Ok(accounts
        .iter()
        .map(|account| {
            let mut rules = account.rules(target, &|granted| !unknown.contains(granted));
            let passwords = credentials.of(&account.name).iter();
            rules.passwords = passwords.map(|password| password.hash.clone()).collect();
            AclUser {
                name: account.name.clone(),
                rules,
            }
        })
        .collect())
}
