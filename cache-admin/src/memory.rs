//! The keys of the embedded client.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{CacheClient as _, CacheError, MemoryCache};

use crate::CacheIdentity;
use crate::keys::{
    Described, Description, Find, KeyAttributes, KeyType, Keys, Layout, ScanPage, Shard, Unlinked,
};

/// The keys of a [`MemoryCache`], as those of one primary with the address `memory`.
#[derive(Clone, Debug)]
pub struct MemoryKeys {
    shard: Arc<Whole>,
}

impl MemoryKeys {
    /// The keys of `cache`.
    pub fn new(cache: Arc<MemoryCache>) -> Self {
        Self {
            shard: Arc::new(Whole {
                cache,
                identity: CacheIdentity::embedded(),
            }),
        }
    }
}

#[async_trait]
impl Keys for MemoryKeys {
    async fn layout(&self) -> Result<Layout, CacheError> {
        Ok(Layout::Whole(Arc::clone(&self.shard) as Arc<dyn Shard>))
    }

    async fn unlink_anywhere(&self, keys: &[Bytes]) -> Unlinked {
        self.shard.unlink(keys).await
    }

    async fn describe_anywhere(
        &self,
        keys: &[Bytes],
        traits: KeyAttributes,
    ) -> Result<Vec<Option<Description>>, CacheError> {
        let described = self.shard.describe(keys, traits).await?;
        Ok(described.into_iter().map(Described::here).collect())
    }
}

#[derive(Debug)]
struct Whole {
    cache: Arc<MemoryCache>,
    identity: CacheIdentity,
}

#[async_trait]
impl Shard for Whole {
    fn address(&self) -> &str {
        "memory"
    }

    fn cache(&self) -> &CacheIdentity {
        &self.identity
    }

    fn start_of(&self, _slot: u16) -> Option<u64> {
        None
    }

    fn slot_at(&self, _cursor: u64) -> Option<u16> {
        None
    }

    async fn scan(&self, cursor: u64, find: Find<'_>) -> Result<ScanPage, CacheError> {
        // A long walk shares its thread with others.
        tokio::task::yield_now().await;
        // Everything in it is bytes.
        let none = find.kind.is_some_and(|kind| kind != KeyType::String);
        if none {
            return Ok(ScanPage::default());
        }
        let count = usize::try_from(find.count).unwrap_or(usize::MAX);
        let page = self.cache.scan(find.pattern, cursor, count);
        Ok(ScanPage {
            cursor: page.cursor,
            keys: page.keys.into_iter().map(Bytes::from).collect(),
        })
    }

    async fn unlink(&self, keys: &[Bytes]) -> Unlinked {
        // Its keys are text; any other name is one that it does not hold.
        let names: Vec<&str> = keys
            .iter()
            .filter_map(|key| std::str::from_utf8(key).ok())
            .collect();
        match self.cache.del(&names).await {
            Ok(removed) => Unlinked {
                removed,
                ..Unlinked::default()
            },
            Err(error) => Unlinked::failed(keys.to_vec(), error),
        }
    }

    async fn describe(&self, keys: &[Bytes], traits: KeyAttributes) -> Result<Vec<Described>, CacheError> {
        if traits.size || traits.idle {
            return Err(CacheError::Unsupported {
                detail: "the embedded cache does not say what a single key takes or when it was used".into(),
            });
        }
        let mut described = Vec::with_capacity(keys.len());
        for key in keys {
            let life = match std::str::from_utf8(key) {
                Ok(key) => self.cache.ttl(key).await,
                Err(_) => Err(CacheError::Miss),
            };
            described.push(match life {
                Ok(life) => Described::Here(Description {
                    kind: traits.kind.then_some(KeyType::String),
                    ttl: traits.ttl.then_some(life),
                    ..Description::default()
                }),
                Err(CacheError::Miss) => Described::Gone,
                Err(error) => return Err(error),
            });
        }
        Ok(described)
    }

    async fn ping(&self) -> Result<(), CacheError> {
        Ok(())
    }

    async fn key_count(&self) -> Result<u64, CacheError> {
        Ok(self.cache.len())
    }
}
