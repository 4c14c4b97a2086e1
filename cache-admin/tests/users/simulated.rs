//! Nodes that only keep users.

#![expect(clippy::unwrap_used, reason = "a poisoned lock ends the test")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cache_admin::users::Node;
use cache_core::CacheError;
use cache_valkey::admin::{AclRules, AclSaved, AclSession, AclUser, Permission};

/// What was asked of all nodes, in the order in which it was: `address set user`.
pub(crate) type Journal = Arc<Mutex<Vec<String>>>;

/// A node that only keeps users.
#[derive(Debug)]
pub(crate) struct Simulated {
    address: String,
    replica: bool,
    pub(crate) users: Mutex<BTreeMap<String, AclRules>>,
    pub(crate) sessions: Mutex<Vec<AclSession>>,
    /// Commands that it does not know.
    pub(crate) lacks: Vec<&'static str>,
    /// Refuses to change this user.
    pub(crate) refuses: Mutex<Option<String>>,
    pub(crate) away: Mutex<bool>,
    pub(crate) ourselves: &'static str,
    journal: Journal,
}

/// `count` nodes, the last a replica, and what is asked of them.
pub(crate) fn nodes(count: usize) -> (Vec<Arc<Simulated>>, Journal) {
    let journal = Journal::default();
    let nodes = (0..count).map(|index| {
        Arc::new(Simulated {
            address: format!("node-{index}"),
            replica: index + 1 == count,
            users: Mutex::default(),
            sessions: Mutex::default(),
            lacks: vec!["delifeq", "clusterscan"],
            refuses: Mutex::default(),
            away: Mutex::default(),
            ourselves: "default",
            journal: Arc::clone(&journal),
        })
    });
    (nodes.collect(), journal)
}

/// As the library takes them.
pub(crate) fn seen(nodes: &[Arc<Simulated>]) -> Vec<Arc<dyn Node>> {
    nodes
        .iter()
        .map(|node| Arc::clone(node) as Arc<dyn Node>)
        .collect()
}

impl Simulated {
    fn note(&self, what: &str) -> Result<(), CacheError> {
        self.is_there()?;
        self.journal
            .lock()
            .unwrap()
            .push(format!("{} {what}", self.address));
        Ok(())
    }

    fn is_there(&self) -> Result<(), CacheError> {
        if *self.away.lock().unwrap() {
            return Err(CacheError::Timeout {
                stage: cache_core::Stage::Connect,
                after: std::time::Duration::from_secs(1),
            });
        }
        Ok(())
    }
}

#[async_trait]
impl Node for Simulated {
    fn address(&self) -> &str {
        &self.address
    }

    fn is_replica(&self) -> bool {
        self.replica
    }

    async fn users(&self) -> Result<Vec<AclUser>, CacheError> {
        self.is_there()?;
        let users = self.users.lock().unwrap();
        let user = |(name, rules): (&String, &AclRules)| AclUser {
            name: name.clone(),
            rules: rules.clone(),
        };
        Ok(users.iter().map(user).collect())
    }

    async fn whoami(&self) -> Result<String, CacheError> {
        self.is_there()?;
        Ok(self.ourselves.to_owned())
    }

    async fn knows(&self, commands: &[&str]) -> Result<Vec<bool>, CacheError> {
        self.is_there()?;
        Ok(commands
            .iter()
            .map(|command| !self.lacks.contains(command))
            .collect())
    }

    async fn set(&self, user: &AclUser) -> Result<(), CacheError> {
        self.note(&format!("set {}", user.name))?;
        if self.refuses.lock().unwrap().as_deref() == Some(&user.name) {
            return Err(CacheError::Rejected {
                code: "ERR".into(),
                detail: "not today".into(),
            });
        }
        self.users
            .lock()
            .unwrap()
            .insert(user.name.clone(), user.rules.clone());
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<(), CacheError> {
        self.note(&format!("delete {name}"))?;
        self.users.lock().unwrap().remove(name);
        Ok(())
    }

    async fn save(&self) -> Result<AclSaved, CacheError> {
        self.note("save")?;
        Ok(AclSaved::AclFile)
    }

    async fn dry_run(&self, _user: &str, _command: &[&str]) -> Result<Permission, CacheError> {
        Ok(Permission::Allowed)
    }

    async fn sessions(&self) -> Result<Vec<AclSession>, CacheError> {
        self.is_there()?;
        Ok(self.sessions.lock().unwrap().clone())
    }
}
