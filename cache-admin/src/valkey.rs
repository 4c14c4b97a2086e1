//! The keys of Valkey servers: one, a cluster, or a primary that sentinels watch.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{CacheError, Pattern};
use cache_valkey::ValkeyClient;
use cache_valkey::admin::{Administration, Primary};

use crate::keys::{Keys, Layout, ScanPage, Shard, Unlinked};

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
        let primaries = self.administration.primaries_of(&view);
        if view.cluster {
            let shard = |primary: Primary| {
                let slots = primary.slots().iter().cloned().collect();
                (OnePrimary::shard(primary), slots)
            };
            return Ok(Layout::Slots(primaries.into_iter().map(shard).collect()));
        }
        match primaries.into_iter().next() {
            Some(primary) => Ok(Layout::Whole(OnePrimary::shard(primary))),
            None => Err(CacheError::Unavailable {
                reason: cache_core::Unavailability::NotReady,
                detail: "there is no primary at present".into(),
                outcome: cache_core::Outcome::NotApplied,
                source: None,
            }),
        }
    }

    async fn unlink_anywhere(&self, keys: &[Bytes]) -> Result<u64, CacheError> {
        self.administration.unlink(keys).await
    }
}

/// One primary, with its address as text.
#[derive(Debug)]
struct OnePrimary {
    address: String,
    primary: Primary,
}

impl OnePrimary {
    fn shard(primary: Primary) -> Arc<dyn Shard> {
        Arc::new(Self {
            address: primary.address().to_string(),
            primary,
        })
    }
}

#[async_trait]
impl Shard for OnePrimary {
    fn address(&self) -> &str {
        &self.address
    }

    async fn scan(&self, cursor: u64, pattern: &Pattern, count: u32) -> Result<ScanPage, CacheError> {
        let page = self.primary.scan(cursor, pattern, count).await?;
        Ok(ScanPage {
            cursor: page.cursor,
            keys: page.keys,
        })
    }

    async fn unlink(&self, keys: &[Bytes]) -> Result<Unlinked, CacheError> {
        let unlinked = self.primary.unlink(keys).await?;
        Ok(Unlinked {
            removed: unlinked.removed,
            moved: unlinked.moved,
        })
    }

    async fn key_count(&self) -> Result<u64, CacheError> {
        self.primary.key_count().await
    }
}
