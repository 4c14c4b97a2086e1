//! The keys of Valkey servers: one, a cluster, or a primary that sentinels watch.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::CacheError;
use cache_core::slot::SLOTS;
use cache_valkey::ValkeyClient;
use cache_valkey::admin::{Administration, Identity, Primary};

use crate::CacheIdentity;
use crate::keys::{Described, Description, Find, KeyAttributes, Keys, Layout, ScanPage, Shard, Unlinked};

/// The keys of the servers behind a [`ValkeyClient`].
///
/// Works over connections of its own; the client's callers do not wait behind it.
#[derive(Clone, Debug)]
pub struct ValkeyKeys {
    administration: Administration,
}

impl ValkeyKeys {
    /// The keys behind `client`, for as long as it lives.
    #[must_use]
    pub fn new(client: &ValkeyClient) -> Self {
        Self {
            administration: client.administration(),
        }
    }
}

#[async_trait]
impl Keys for ValkeyKeys {
    async fn layout(&self) -> Result<Layout, CacheError> {
        let view = self.administration.topology().await?;
        let (primaries, identity) = futures::join!(
            self.administration.all_primaries(&view),
            self.administration.identity(&view)
        );
        let found = Found::new(identity?);
        if view.cluster {
            let shard = |primary: Primary| {
                let slots = primary.slots().iter().cloned().collect();
                (found.shard(primary), slots)
            };
            return Ok(Layout::Slots(primaries.into_iter().map(shard).collect()));
        }
        match primaries.into_iter().next() {
            Some(primary) => Ok(Layout::Whole(found.shard(primary))),
            None => Err(CacheError::Unavailable {
                reason: cache_core::Unavailability::NotReady,
                detail: "there is no primary at present".into(),
                outcome: cache_core::Outcome::NotApplied,
                source: None,
            }),
        }
    }

    async fn unlink_anywhere(&self, keys: &[Bytes]) -> Unlinked {
        self.administration.unlink(keys).await
    }

    async fn describe_anywhere(
        &self,
        keys: &[Bytes],
        traits: KeyAttributes,
    ) -> Result<Vec<Option<Description>>, CacheError> {
        self.administration.describe(keys, traits).await
    }
}

/// The cache that a layout is of.
struct Found {
    identity: Arc<Identity>,
    cache: Arc<CacheIdentity>,
}

impl Found {
    fn new(identity: Identity) -> Self {
        let ids = identity.ids.iter().cloned();
        let cache = if identity.cluster {
            CacheIdentity::cluster(ids)
        } else {
            CacheIdentity::server(ids)
        };
        Self {
            cache: Arc::new(cache.with_database(identity.database)),
            identity: Arc::new(identity),
        }
    }

    fn shard(&self, primary: Primary) -> Arc<dyn Shard> {
        Arc::new(OnePrimary {
            address: primary.address().to_string(),
            cache: Arc::clone(&self.cache),
            primary: primary.bound_to(Arc::clone(&self.identity)),
        })
    }
}

/// One primary, with its address as text.
#[derive(Debug)]
struct OnePrimary {
    address: String,
    cache: Arc<CacheIdentity>,
    primary: Primary,
}

#[async_trait]
impl Shard for OnePrimary {
    fn address(&self) -> &str {
        &self.address
    }

    fn cache(&self) -> &CacheIdentity {
        &self.cache
    }

    fn epoch(&self) -> Option<u64> {
        self.primary.epoch()
    }

    fn start_of(&self, slot: u16) -> Option<u64> {
        self.primary.scans_by_slot().then_some(slot.into())
    }

    fn slot_at(&self, cursor: u64) -> Option<u16> {
        let slot = u16::try_from(cursor % u64::from(SLOTS)).ok();
        slot.filter(|_| self.primary.scans_by_slot())
    }

    async fn scan(&self, cursor: u64, find: Find<'_>) -> Result<ScanPage, CacheError> {
        let page = self.primary.scan(cursor, find.pattern, find.kind, find.count);
        let page = page.await?;
        Ok(ScanPage {
            cursor: page.cursor,
            keys: page.keys,
        })
    }

    async fn unlink(&self, keys: &[Bytes]) -> Unlinked {
        self.primary.unlink(keys).await
    }

    async fn describe(&self, keys: &[Bytes], traits: KeyAttributes) -> Result<Vec<Described>, CacheError> {
        self.primary.describe(keys, traits).await
    }

    async fn incarnation(&self) -> Result<Option<String>, CacheError> {
        self.primary.run_id().await
    }

    async fn ping(&self) -> Result<(), CacheError> {
        self.primary.ping().await
    }

    async fn random_keys(&self, draws: usize) -> Result<Vec<Bytes>, CacheError> {
        self.primary.random_keys(draws).await
    }

    async fn key_count(&self) -> Result<u64, CacheError> {
        self.primary.key_count().await
    }
}
