//! What the engine asks of a backend: who serves which keys, and pages of them.
//!
//! Not in here: the backends ([`ValkeyKeys`](crate::ValkeyKeys), [`MemoryKeys`](crate::MemoryKeys)), and
//! what is done with the keys.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{CacheError, Pattern};

use crate::SlotSet;

/// A backend whose keys can be walked.
#[async_trait]
pub trait Keys: Debug + Send + Sync + 'static {
    /// Who serves what at this moment: asked of the servers, not remembered.
    ///
    /// A primary that the servers know of is listed even where it cannot be reached; its own calls then
    /// fail.
    ///
    /// # Errors
    ///
    /// Where nobody can be asked.
    async fn layout(&self) -> Result<Layout, CacheError>;

    /// Removes `keys`, each wherever it lives now, redirections followed; how many existed.
    ///
    /// # Errors
    ///
    /// Where any of them could not be asked for; some of the others may be gone then.
    async fn unlink_anywhere(&self, keys: &[Bytes]) -> Result<u64, CacheError>;
}

/// Who serves what at one moment.
#[derive(Clone, Debug)]
pub enum Layout {
    /// One primary holds every key.
    Whole(Arc<dyn Shard>),
    /// A cluster: each primary with the slots that it serves. Slots that none of them serves are in no set.
    Slots(Vec<(Arc<dyn Shard>, SlotSet)>),
}

/// One primary.
#[async_trait]
pub trait Shard: Debug + Send + Sync + 'static {
    /// Its address, which is its identity: after a failover the keys have another one.
    fn address(&self) -> &str;

    /// The keys that match, of about the next `count` keys after `cursor`; 0 starts, and a page whose
    /// cursor is 0 ends the walk.
    ///
    /// A key that is there from the first call to the last is returned at least once.
    ///
    /// # Errors
    ///
    /// Where the primary does not answer. The cursor may have lost its meaning then: start again.
    async fn scan(&self, cursor: u64, pattern: &Pattern, count: u32) -> Result<ScanPage, CacheError>;

    /// Removes `keys` here, as one pipeline.
    ///
    /// # Errors
    ///
    /// Where the primary does not answer; some of the keys may be gone then.
    async fn unlink(&self, keys: &[Bytes]) -> Result<Unlinked, CacheError>;

    /// How many keys it holds.
    ///
    /// # Errors
    ///
    /// Where the primary does not answer, or the user may not ask.
    async fn key_count(&self) -> Result<u64, CacheError>;
}

/// What one step of a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanPage {
    /// Where the next step goes on; 0 is the end.
    pub cursor: u64,
    /// The keys that match; often none, now and then one that was seen before.
    pub keys: Vec<Bytes>,
}

/// What became of keys that one primary was asked to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unlinked {
    /// How many it held and removed.
    pub removed: u64,
    /// The keys for which it pointed elsewhere (`MOVED`, `ASK`, `TRYAGAIN`); untouched by it.
    pub moved: Vec<Bytes>,
}
