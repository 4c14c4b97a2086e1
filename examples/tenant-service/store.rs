//! The stand-in for the service's database: slow, and it counts how often it is asked.
//!
//! The count goes into the answers, so that one can see what the cache saves. Nothing in here knows of
//! the cache.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::credential::KeyDigest;

/// Who an API key belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) tenant: String,
    pub(crate) role: Role,
    pub(crate) plan: Plan,
}

/// What a tenant pays for: how much it may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Plan {
    Free,
    Team,
}

/// What an API key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// The tenant's own affairs.
    Tenant,
    /// The affairs of all tenants.
    Operator,
}

/// What a tenant can set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) theme: String,
    pub(crate) locale: String,
    pub(crate) seats: u32,
}

/// Somebody whom a tenant invited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Invitation {
    pub(crate) invitation: usize,
    pub(crate) tenant: String,
    pub(crate) email: String,
}

/// The database.
#[derive(Debug)]
pub(crate) struct Store {
    identities: HashMap<KeyDigest, Identity>,
    settings: Mutex<HashMap<String, Settings>>,
    invitations: Mutex<Vec<Invitation>>,
    latency: Duration,
    reads: AtomicU64,
}

impl Store {
    /// Two tenants and an operator, whose API keys are `demo-acme`, `demo-globex` and `demo-operator`.
    pub(crate) fn with_demo_tenants(latency: Duration) -> Self {
        let identities = [
            ("demo-acme", "acme", Role::Tenant, Plan::Free),
            ("demo-globex", "globex", Role::Tenant, Plan::Team),
            ("demo-operator", "platform", Role::Operator, Plan::Team),
        ]
        .map(|(api_key, tenant, role, plan)| {
            let tenant = tenant.to_owned();
            (KeyDigest::of(api_key), Identity { tenant, role, plan })
        });
        let settings = [
            ("acme", "light", 5),
            ("globex", "dark", 120),
            ("platform", "light", 2),
        ]
        .map(|(tenant, theme, seats)| {
            let theme = theme.to_owned();
            let locale = "en-GB".to_owned();
            (tenant.to_owned(), Settings { theme, locale, seats })
        });
        Self {
            identities: identities.into(),
            settings: Mutex::new(settings.into()),
            invitations: Mutex::default(),
            latency,
            reads: AtomicU64::new(0),
        }
    }

    /// Who the API key of this digest belongs to.
    pub(crate) async fn identity(&self, digest: &KeyDigest) -> Option<Identity> {
        self.be_slow().await;
        self.identities.get(digest).cloned()
    }

    /// What `tenant` has set.
    pub(crate) async fn settings(&self, tenant: &str) -> Option<Settings> {
        self.be_slow().await;
        let settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        settings.get(tenant).cloned()
    }

    /// Replaces what `tenant` has set.
    pub(crate) fn put_settings(&self, tenant: &str, new: Settings) {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        settings.insert(tenant.to_owned(), new);
    }

    /// Invites somebody. Asked twice, it invites twice.
    pub(crate) fn invite(&self, tenant: &str, email: String) -> Invitation {
        let mut all = self.invitations.lock().unwrap_or_else(PoisonError::into_inner);
        let invitation = Invitation {
            invitation: all.len() + 1,
            tenant: tenant.to_owned(),
            email,
        };
        all.push(invitation.clone());
        invitation
    }

    /// How often anything was read so far.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    async fn be_slow(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(self.latency).await;
    }
}
