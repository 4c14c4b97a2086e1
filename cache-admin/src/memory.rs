//! The keys of the embedded client.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{CacheClient as _, CacheError, MemoryCache, Pattern};

use crate::keys::{Keys, Layout, ScanPage, Shard, Unlinked};

/// The keys of a [`MemoryCache`], as those of one primary with the address `memory`.
#[derive(Clone, Debug)]
pub struct MemoryKeys {
    shard: Arc<Whole>,
}

impl MemoryKeys {
    /// The keys of `cache`.
    pub fn new(cache: Arc<MemoryCache>) -> Self {
        Self {
            shard: Arc::new(Whole { cache }),
        }
    }
}

#[async_trait]
impl Keys for MemoryKeys {
    async fn layout(&self) -> Result<Layout, CacheError> {
        Ok(Layout::Whole(Arc::clone(&self.shard) as Arc<dyn Shard>))
    }

    async fn unlink_anywhere(&self, keys: &[Bytes]) -> Result<u64, CacheError> {
        Ok(self.shard.unlink(keys).await?.removed)
    }
}

#[derive(Debug)]
struct Whole {
    cache: Arc<MemoryCache>,
}

#[async_trait]
impl Shard for Whole {
    fn address(&self) -> &str {
        "memory"
    }

    async fn scan(&self, cursor: u64, pattern: &Pattern, count: u32) -> Result<ScanPage, CacheError> {
        // A long walk shares its thread with others.
        tokio::task::yield_now().await;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let page = self.cache.scan(pattern, cursor, count);
        Ok(ScanPage {
            cursor: page.cursor,
            keys: page.keys.into_iter().map(Bytes::from).collect(),
        })
    }

    async fn unlink(&self, keys: &[Bytes]) -> Result<Unlinked, CacheError> {
        // Its keys are text; any other name is one that it does not hold.
        let keys: Vec<&str> = keys
            .iter()
            .filter_map(|key| std::str::from_utf8(key).ok())
            .collect();
        Ok(Unlinked {
            removed: self.cache.del(&keys).await?,
            moved: Vec::new(),
        })
    }

    async fn key_count(&self) -> Result<u64, CacheError> {
        Ok(self.cache.len())
    }
}
