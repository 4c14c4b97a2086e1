//! Entries that this broker and a running chinmina-bridge share, while callers move from one to the other.
//!
//! An app of the profiles that names its `bridge` takes a token that chinmina-bridge has stored before it mints one, and
//! stores what it mints where chinmina-bridge looks. With `CACHE_ENCRYPTION_FORM=chinmina-bridge` and the same keyset the
//! cache stores both as chinmina-bridge does. Not in here: this broker's own entries, which have other names.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cache_core::{CacheClient, CacheClientExt as _, CacheError, Stage, Ttl};
use cache_layers::WallClock;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::profiles::Order;
use crate::times::Times;
use crate::token::{AccessToken, Minted};

/// What a look at a shared entry may take.
const BUDGET: Duration = Duration::from_millis(500);

/// Which chinmina-bridge it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bridge {
    /// The organization of its callers.
    organization: String,
    /// The digest of its configuration, which its keys begin with.
    digest: String,
}

/// A token as chinmina-bridge stores it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProfileToken {
    organization_slug: String,
    profile: String,
    #[serde(rename = "repositoryUrl")]
    vended_repository_url: String,
    repositories: Scope,
    permissions: Option<Vec<String>>,
    token: AccessToken,
    hashed_token: String,
    expiry: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Scope {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    wildcard: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
}

/// The shared entries of one cache.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    cache: Arc<dyn CacheClient>,
    times: Times,
    clock: Arc<dyn WallClock>,
}

impl Bridge {
    /// Where chinmina-bridge keeps the token of an organization's profile.
    fn key(&self, order: &Order) -> String {
        let Self { organization, digest } = self;
        let mut key = format!(
            "{digest}:profile://organization/{organization}/profile/{}",
            order.profile
        );
        if order.by_caller {
            for repository in &order.repositories {
                key.push_str("/repository/");
                key.push_str(repository);
            }
        }
        key
    }
}

impl Shared {
    pub(crate) const fn new(cache: Arc<dyn CacheClient>, times: Times, clock: Arc<dyn WallClock>) -> Self {
        Self { cache, times, clock }
    }

    /// The token that chinmina-bridge has for this, if it is as good as a new one: the same rights, and not yet due for
    /// a refresh.
    pub(crate) async fn find(&self, order: &Order) -> Option<Minted> {
        let bridge = order.bridge.as_ref()?;
        let found = within_budget(self.cache.find_json::<ProfileToken>(&bridge.key(order))).await;
        let found = found.inspect_err(|error| report("read", error)).ok()??;
        if found.repositories != scope(order) || found.permissions.unwrap_or_default() != order.permissions {
            tracing::warn!(
                profile = order.profile,
                "the shared token has other rights; it is not used"
            );
            return None;
        }
        let expiry = humantime::parse_rfc3339(&found.expiry).ok()?;
        let expiry = expiry.duration_since(UNIX_EPOCH).ok()?;
        let minted = Minted {
            token: found.token,
            expires_ms: u64::try_from(expiry.as_millis()).ok()?,
        };
        let valid_for = minted.valid_for(self.clock.since_epoch());
        (valid_for > self.times.refresh_ahead()).then_some(minted)
    }

    /// Leaves a new token where chinmina-bridge looks, for as long as chinmina-bridge itself would: until a quarter of
    /// its validity is left.
    pub(crate) async fn store(&self, order: &Order, minted: &Minted) {
        let Some(bridge) = &order.bridge else { return };
        let quarter = self.times.validity() / 4;
        let life = minted.valid_for(self.clock.since_epoch()).saturating_sub(quarter);
        let expiry = UNIX_EPOCH.checked_add(Duration::from_millis(minted.expires_ms));
        if life.is_zero() {
            return;
        }
        let mut profile = format!("org:{}", order.profile);
        if let Some(repository) = order.repositories.first().filter(|_| order.by_caller) {
            profile = format!("{profile}/{repository}");
        }
        let token = ProfileToken {
            organization_slug: bridge.organization.clone(),
            profile,
            vended_repository_url: String::new(),
            repositories: scope(order),
            permissions: Some(order.permissions.clone()),
            token: minted.token.clone(),
            hashed_token: STANDARD.encode(Sha256::digest(minted.token.expose())),
            expiry: humantime::format_rfc3339_millis(expiry.unwrap_or(UNIX_EPOCH)).to_string(),
        };
        let key = bridge.key(order);
        let stored = within_budget(self.cache.set_json(&key, &token, Ttl::After(life))).await;
        if let Err(error) = stored {
            report("write", &error);
        }
    }
}

fn scope(order: &Order) -> Scope {
    let wildcard = order.repositories == ["*"];
    let names = if wildcard {
        Vec::new()
    } else {
        order.repositories.clone()
    };
    Scope { wildcard, names }
}

fn report(operation: &str, error: &CacheError) {
    tracing::warn!(operation, kind = error.kind(), "a shared token: {error}");
}

async fn within_budget<T>(call: impl Future<Output = Result<T, CacheError>>) -> Result<T, CacheError> {
    let timeout = CacheError::Timeout {
        stage: Stage::Call,
        after: BUDGET,
    };
    tokio::time::timeout(BUDGET, call).await.unwrap_or(Err(timeout))
}
