//! What the engine asks of a backend: who serves which keys, and pages of them.
//!
//! Not in here: the backends ([`ValkeyKeys`](crate::ValkeyKeys), [`MemoryKeys`](crate::MemoryKeys)), and
//! what is done with the keys.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{CacheError, Pattern};
pub use cache_valkey::admin::{Described, Description, KeyAttributes, KeyType, Unlinked};

use crate::{CacheIdentity, SlotSet};

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
    /// If no server answers.
    async fn layout(&self) -> Result<Layout, CacheError>;

    /// Removes `keys`, each wherever it lives now, redirections followed, so that none is `moved`.
    async fn unlink_anywhere(&self, keys: &[Bytes]) -> Unlinked;

    /// What is known of `keys`, in their order, each wherever it lives now; `None` where it is not there.
    ///
    /// # Errors
    ///
    /// Where any of them could not be asked for, or the backend does not know one of the traits.
    async fn describe_anywhere(
        &self,
        keys: &[Bytes],
        traits: KeyAttributes,
    ) -> Result<Vec<Option<Description>>, CacheError>;
}

/// Who serves what at one moment.
#[derive(Clone, Debug)]
pub enum Layout {
    /// One primary holds every key.
    Whole(Arc<dyn Shard>),
    /// A cluster: each primary with the slots that it serves, which may be none: keys may be handed to it all
    /// the same. Slots that none of them serves are in no set.
    Slots(Vec<(Arc<dyn Shard>, SlotSet)>),
}

impl Layout {
    /// The cache that was asked; `None` if there is no primary.
    #[must_use]
    pub fn cache(&self) -> Option<&CacheIdentity> {
        match self {
            Self::Whole(shard) => Some(shard.cache()),
            Self::Slots(shards) => shards.first().map(|(shard, _)| shard.cache()),
        }
    }
}

/// One primary.
#[async_trait]
pub trait Shard: Debug + Send + Sync + 'static {
    /// Its address, which is its identity: after a failover the keys have another one.
    fn address(&self) -> &str;

    /// The cache that it belonged to when the layout was asked for. All shards of a layout name the same one. If servers
    /// have ids, no call does anything on a server of another cache that now listens at the same address.
    fn cache(&self) -> &CacheIdentity;

    /// A number that was greater than before, when the layout was asked for, where slots had gone from this primary
    /// and come back since the layout before, or may have. `None`, as without an implementation, is not known: a
    /// slot that was away in between then looks as if it had stayed.
    fn epoch(&self) -> Option<u64> {
        None
    }

    /// Where a walk over `slot` and those above it begins, where walks go slot by slot in ascending order;
    /// `None` where they do not.
    fn start_of(&self, slot: u16) -> Option<u64>;

    /// The slot to which a walk has come that goes on at `cursor`; `None` where walks do not go slot by slot.
    fn slot_at(&self, cursor: u64) -> Option<u16>;

    /// The keys that are asked for, of about the next `find.count` keys after `cursor`; 0 starts, and a page
    /// whose cursor is 0 ends the walk.
    ///
    /// A key that is there from the first call to the last is returned at least once.
    ///
    /// # Errors
    ///
    /// Where the primary does not answer. The cursor may have lost its meaning then: start again.
    async fn scan(&self, cursor: u64, find: Find<'_>) -> Result<ScanPage, CacheError>;

    /// Removes `keys` here, as one pipeline.
    async fn unlink(&self, keys: &[Bytes]) -> Unlinked;

    /// What it knows of `keys`, in their order, as one pipeline.
    ///
    /// # Errors
    ///
    /// Where the primary does not answer, or does not know one of the traits.
    async fn describe(&self, keys: &[Bytes], traits: KeyAttributes) -> Result<Vec<Described>, CacheError>;

    /// What tells this run of the server from those before and after it, where that can be known: a server that
    /// is started anew has the same address, and cursors of before mean nothing to it.
    ///
    /// # Errors
    ///
    /// Where the primary does not answer.
    async fn incarnation(&self) -> Result<Option<String>, CacheError> {
        Ok(None)
    }

    /// One round trip that costs next to nothing.
    ///
    /// # Errors
    ///
    /// Where the primary does not answer.
    async fn ping(&self) -> Result<(), CacheError>;

    /// `draws` keys, each drawn at random from all that it holds; one may come twice, and where it is empty there
    /// are fewer.
    ///
    /// # Errors
    ///
    /// Where the primary does not answer or refuses; [`CacheError::Unsupported`] where the backend does not draw
    /// keys, as without an implementation.
    async fn random_keys(&self, draws: usize) -> Result<Vec<Bytes>, CacheError> {
        let _ = draws;
        Err(CacheError::Unsupported {
            detail: "this backend does not draw keys at random".into(),
        })
    }

    /// How many keys it holds.
    ///
    /// # Errors
    ///
    /// Where the primary does not answer, or the user may not ask.
    async fn key_count(&self) -> Result<u64, CacheError>;
}

/// What a walk looks for.
#[derive(Clone, Copy, Debug)]
pub struct Find<'a> {
    /// The pattern that the names match.
    pub pattern: &'a Pattern,
    /// The type of what the keys hold; `None` is any. Never [`KeyType::Other`].
    pub kind: Option<KeyType>,
    /// How many keys to look at.
    pub count: u32,
}

/// What one step of a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanPage {
    /// Where the next step goes on; 0 is the end.
    pub cursor: u64,
    /// The keys that match; often none, now and then one that was seen before.
    pub keys: Vec<Bytes>,
}
