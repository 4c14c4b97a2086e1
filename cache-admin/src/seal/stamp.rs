//! Which cache a token is for: some of its ids, shortened, in the token's payload.
//!
//! A cluster gains and loses nodes, so a token cannot be bound to all of its ids. One that it names must still be there.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};

use super::Unsealed;
use crate::CacheIdentity;

/// How many ids a token names at most.
const MOST: usize = 8;

/// The bytes of each.
const EACH: usize = 8;

fn shortened(cache: &CacheIdentity) -> BTreeSet<[u8; EACH]> {
    let short = |id: &String| {
        let digest = digest(&SHA256, id.as_bytes());
        digest.as_ref().first_chunk().copied().unwrap_or_default()
    };
    cache.ids().iter().map(short).collect()
}

/// `payload`, with the stamp of `cache` before it.
pub(super) fn stamped(cache: &CacheIdentity, payload: &[u8]) -> Vec<u8> {
    let ids: Vec<[u8; EACH]> = shortened(cache).into_iter().take(MOST).collect();
    let count = u8::try_from(ids.len()).unwrap_or(0);
    let mut stamped = vec![count];
    stamped.extend(ids.as_flattened());
    stamped.extend(payload);
    stamped
}

/// The payload behind the stamp, if that is one of `cache`.
pub(super) fn unstamped(cache: &CacheIdentity, stamped: &[u8]) -> Result<Vec<u8>, Unsealed> {
    let (count, rest) = stamped.split_first().ok_or(Unsealed::Foreign)?;
    let (ids, payload) = rest
        .split_at_checked(usize::from(*count) * EACH)
        .ok_or(Unsealed::Foreign)?;
    let here = shortened(cache);
    let named = ids.chunks_exact(EACH).any(|id| here.iter().any(|own| own == id));
    // Caches without ids are told apart by what the token is bound to.
    if named || (ids.is_empty() && here.is_empty()) {
        Ok(payload.to_vec())
    } else {
        Err(Unsealed::Foreign)
    }
}
