//! The conformance suite over the embedded client: bare, and behind the pointers it is passed in.

use std::sync::Arc;

use cache_core::conformance::Subject;
use cache_core::{CacheClient, MemoryCache};

cache_core::conformance_tests! {
    mod memory in virtual time = async { subject(MemoryCache::default()) };
    mod memory_as_a_shared_trait_object in virtual time = async {
        let shared: Arc<dyn CacheClient> = Arc::new(MemoryCache::default());
        subject(shared)
    };
    // As it is used, and as servers are tested: nothing may hang on a clock that stands still.
    mod memory_in_real_time in real time = async { subject(MemoryCache::default()) };
    mod memory_in_a_box in virtual time = async {
        let boxed: Box<dyn CacheClient> = Box::new(MemoryCache::default());
        subject(boxed)
    };
}

/// The cache holds 64 MiB, so no value is larger.
fn subject(client: impl CacheClient) -> Subject {
    Subject::new(client).with_largest_value(64 * 1024 * 1024)
}
