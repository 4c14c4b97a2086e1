//! An observed client keeps the contract.

use std::sync::Arc;

use cache_core::conformance::Subject;
use cache_core::{CacheClient as _, Invalidation, MemoryCache, Ttl};
use cache_layers::observed::Tier;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::rig::Rig;

cache_core::conformance_tests! {
    mod at_the_edge in virtual time = async { subject(&[Tier::Edge]) };
    mod in_the_far_tier in virtual time = async { subject(&[Tier::Far]) };
    mod in_both_tiers in virtual time = async { subject(&[Tier::Far, Tier::Edge]) };
}

/// The embedded client holds 64 MiB, so no value is larger.
fn subject(tiers: &[Tier]) -> Subject {
    let rig = Rig::new();
    let bare: Arc<dyn cache_core::CacheClient> = Arc::new(MemoryCache::default());
    let client = tiers
        .iter()
        .fold(bare, |client, tier| Arc::new(rig.observe(*tier, client)));
    Subject::new(client)
        .with_largest_value(64 * 1024 * 1024)
        .with_drops(20_000)
}

#[tokio::test]
async fn changes_inside_are_heard_outside_as_they_are() {
    let rig = Rig::new();
    let bare = Arc::new(MemoryCache::default());
    let cache = rig.observe(Tier::Edge, Arc::clone(&bare));
    let heard = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&heard);
    let source = cache
        .invalidations()
        .expect("the embedded client reports changes");
    let _subscription = source.subscribe(Arc::new(move |event: &Invalidation| {
        assert_eq!(event, &Invalidation::Keys(vec!["key".to_owned()]));
        count.fetch_add(1, Ordering::Relaxed);
    }));
    bare.set("key", "value".into(), Ttl::Forever).await.unwrap();
    assert_eq!(heard.load(Ordering::Relaxed), 1);
}
