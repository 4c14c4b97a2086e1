//! Who serves what while a page is made, and who they are.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use cache_core::CacheError;

use crate::SlotSet;
use crate::keys::{Layout, Shard};

/// The primaries of a cluster, in the order of the hashes of their addresses.
#[derive(Debug)]
pub(super) struct Primaries(Vec<Primary>);

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Primary {
    pub(super) shard: Arc<dyn Shard>,
    pub(super) slots: SlotSet,
    /// Of its address.
    pub(super) hash: u64,
}

impl Primaries {
    /// `Err` holds the one primary that has every key.
    pub(super) fn of(layout: Layout) -> Result<Self, Arc<dyn Shard>> {
        let shards = match layout {
            Layout::Whole(shard) => return Err(shard),
            Layout::Slots(shards) => shards,
        };
        let primary = |(shard, slots): (Arc<dyn Shard>, SlotSet)| Primary {
            hash: hash_of(&[shard.address().as_bytes()]),
            shard,
            slots,
        };
        let mut primaries: Vec<Primary> = shards.into_iter().map(primary).collect();
        primaries.sort_by_key(|primary| primary.hash);
        Ok(Self(primaries))
    }

    pub(super) fn owner_of(&self, slot: u16) -> Option<&Primary> {
        self.0.iter().find(|primary| primary.slots.contains(slot))
    }

    pub(super) fn named(&self, hash: u64) -> Option<&Primary> {
        self.0.iter().find(|primary| primary.hash == hash)
    }

    /// The first whose hash is not below `from`, `besides` apart.
    pub(super) fn next(&self, from: u64, besides: u64) -> Option<&Primary> {
        self.0
            .iter()
            .find(|primary| primary.hash >= from && primary.hash != besides)
    }

    /// Whether all of them walk slot by slot.
    pub(super) fn walk_by_slot(&self) -> bool {
        self.0.iter().all(|primary| primary.shard.start_of(0).is_some())
    }

    /// Who they are, and who of them `owner` is, as one number.
    pub(super) fn digest(&self, owner: u64) -> u64 {
        let owner = owner.to_be_bytes();
        let addresses = self.0.iter().map(|primary| primary.shard.address().as_bytes());
        hash_of(&addresses.chain([owner.as_slice()]).collect::<Vec<_>>())
    }
}

/// Which run of which server this is: cursors of another one mean nothing to it.
pub(super) async fn server(shard: &dyn Shard) -> Result<u64, CacheError> {
    let run = shard.incarnation().await?.unwrap_or_default();
    Ok(hash_of(&[shard.address().as_bytes(), run.as_bytes()]))
}

/// The first bytes of a digest of `texts`, as a number.
pub(super) fn hash_of(texts: &[&[u8]]) -> u64 {
    let mut context = Context::new(&SHA256);
    for text in texts {
        context.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(text);
    }
    let digest = context.finish();
    let first = digest.as_ref().first_chunk().copied();
    u64::from_be_bytes(first.unwrap_or_default())
}
