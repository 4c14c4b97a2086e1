//! The suite through layers, over a single server and over a cluster. What the backends themselves promise is
//! tested bare, so the load is smaller here.

#![expect(clippy::expect_used, reason = "a layer that cannot be made ends the test")]

use std::time::Duration;

use cache_core::CacheClient;
use cache_core::conformance::Subject;
use cache_layers::guarded::OnFailure;
use cache_layers::{Guarded, GuardedConfig, Prefixed};
use tests::Kind;

use crate::backend::connect;

cache_core::conformance_tests! {
    mod prefixed_single in real time = async { prefixed(Kind::Single).await };
}

cache_core::conformance_tests! {
    mod prefixed_cluster in real time = async { prefixed(Kind::Cluster).await };
}

cache_core::conformance_tests! {
    mod guarded_single in real time = async { guarded(Kind::Single, OnFailure::Bypass).await };
}

cache_core::conformance_tests! {
    mod guarded_cluster in real time = async { guarded(Kind::Cluster, OnFailure::Fail).await };
}

fn subject(client: impl CacheClient) -> Subject {
    Subject::new(client).with_drops(1_000).with_load(20, 200)
}

async fn prefixed(kind: Kind) -> Subject {
    let prefixed = Prefixed::new(connect(kind).await, "conformance-prefix:").expect("a good prefix");
    let longest = prefixed.longest_key();
    subject(prefixed).with_longest_key(longest)
}

async fn guarded(kind: Kind, on_failure: OnFailure) -> Subject {
    let config = GuardedConfig::builder()
        .deadline(Duration::from_secs(30))
        .slow_call(Duration::from_secs(20))
        .on_failure(on_failure);
    let config = config.build().expect("a good configuration");
    subject(Guarded::new(connect(kind).await, config))
}
