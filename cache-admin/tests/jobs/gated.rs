//! The keys of the embedded client behind a gate that lets pages through one by one.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use cache_admin::{
    CacheIdentity, Described, Description, Find, KeyAttributes, Keys, Layout, MemoryKeys, ScanPage, Shard,
    Unlinked,
};
use cache_core::{CacheClient as _, CacheError, MemoryCache, Ttl};
use tokio::sync::Semaphore;

#[derive(Clone, Debug)]
pub(crate) struct Gated {
    cache: Arc<MemoryCache>,
    keys: MemoryKeys,
    gate: Arc<Semaphore>,
    identity: Arc<Mutex<CacheIdentity>>,
}

impl Gated {
    pub(crate) async fn new() -> Self {
        let cache = Arc::new(MemoryCache::default());
        for number in 0..1_000 {
            cache
                .set(&format!("k:{number}"), "x".into(), Ttl::Forever)
                .await
                .unwrap();
        }
        for number in 0..100 {
            cache
                .set(&format!("other:{number}"), "x".into(), Ttl::Forever)
                .await
                .unwrap();
        }
        Self {
            keys: MemoryKeys::new(Arc::clone(&cache)),
            cache,
            gate: Arc::new(Semaphore::new(0)),
            identity: Arc::new(Mutex::new(CacheIdentity::embedded())),
        }
    }

    /// Lets so many pages more through.
    pub(crate) fn let_through(&self, pages: usize) {
        self.gate.add_permits(pages);
    }

    /// From the next layout on, this is another cache with the same keys.
    pub(crate) fn become_cache(&self, cache: CacheIdentity) {
        *self.identity.lock().unwrap() = cache;
    }

    /// Lets all pages through from now on.
    pub(crate) fn open(&self) {
        self.gate.close();
    }

    /// Pages that may still be asked for.
    pub(crate) fn unused(&self) -> usize {
        self.gate.available_permits()
    }

    /// How many keys there are that begin with `prefix`.
    pub(crate) async fn left(&self, prefix: &str) -> usize {
        let mut left = 0;
        for number in 0..1_000 {
            let found = self.cache.exists(&[&format!("{prefix}{number}")]).await;
            left += usize::try_from(found.unwrap()).unwrap();
        }
        left
    }
}

#[async_trait]
impl Keys for Gated {
    async fn layout(&self) -> Result<Layout, CacheError> {
        match self.keys.layout().await? {
            Layout::Whole(shard) => Ok(Layout::Whole(Arc::new(GatedShard {
                shard,
                gate: Arc::clone(&self.gate),
                identity: self.identity.lock().unwrap().clone(),
            }))),
            slots => Ok(slots),
        }
    }

    async fn unlink_anywhere(&self, keys: &[Bytes]) -> Unlinked {
        self.keys.unlink_anywhere(keys).await
    }

    async fn describe_anywhere(
        &self,
        keys: &[Bytes],
        traits: KeyAttributes,
    ) -> Result<Vec<Option<Description>>, CacheError> {
        self.keys.describe_anywhere(keys, traits).await
    }
}

#[derive(Debug)]
struct GatedShard {
    shard: Arc<dyn Shard>,
    gate: Arc<Semaphore>,
    identity: CacheIdentity,
}

#[async_trait]
impl Shard for GatedShard {
    fn address(&self) -> &str {
        self.shard.address()
    }

    fn cache(&self) -> &CacheIdentity {
        &self.identity
    }

    fn start_of(&self, slot: u16) -> Option<u64> {
        self.shard.start_of(slot)
    }

    fn slot_at(&self, cursor: u64) -> Option<u16> {
        self.shard.slot_at(cursor)
    }

    async fn scan(&self, cursor: u64, find: Find<'_>) -> Result<ScanPage, CacheError> {
        // One that was closed stands open.
        if let Ok(page) = self.gate.acquire().await {
            page.forget();
        }
        self.shard.scan(cursor, find).await
    }

    async fn unlink(&self, keys: &[Bytes]) -> Unlinked {
        self.shard.unlink(keys).await
    }

    async fn describe(&self, keys: &[Bytes], traits: KeyAttributes) -> Result<Vec<Described>, CacheError> {
        self.shard.describe(keys, traits).await
    }

    async fn ping(&self) -> Result<(), CacheError> {
        self.shard.ping().await
    }

    async fn key_count(&self) -> Result<u64, CacheError> {
        self.shard.key_count().await
    }
}
