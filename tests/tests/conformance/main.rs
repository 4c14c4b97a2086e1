//! The conformance suite against every kind of server that the Valkey client speaks to.
//!
//! Each module is one backend; its tests are the promises of the contract by name. The servers are shared
//! by all of them: each scenario works in a namespace of its own.

mod backend;
mod encrypted;
mod foreign;
mod layers;
mod redis_connections;
mod stack;

use std::sync::Arc;

use backend::{connect, connect_over};
use cache_core::conformance::Subject;
use cache_core::{CacheClient, MAX_KEY_LEN};
use cache_valkey::{ValkeyClient, Wire};
use foreign::Lists;
use tests::Kind;

cache_core::conformance_tests! {
    mod single in real time with foreign = async { subject(Kind::Single).await };
}

cache_core::conformance_tests! {
    mod single_tls in real time with foreign = async { subject(Kind::Tls).await };
}

cache_core::conformance_tests! {
    mod sentinel in real time with foreign = async { subject(Kind::Sentinel).await };
}

cache_core::conformance_tests! {
    mod cluster in real time with foreign = async { subject(Kind::Cluster).await };
}

cache_core::conformance_tests! {
    mod cluster_tls in real time with foreign = async { subject(Kind::ClusterTls).await };
}

cache_core::conformance_tests! {
    mod valkey_9 in real time with foreign = async { subject(Kind::Valkey9).await };
}

cache_core::conformance_tests! {
    mod valkey_9_cluster in real time with foreign = async { subject(Kind::Valkey9Cluster).await };
}

cache_core::conformance_tests! {
    mod redis_6 in real time with foreign = async { subject(Kind::Redis6).await };
}

cache_core::conformance_tests! {
    mod redis_7 in real time with foreign = async { subject(Kind::Redis7).await };
}

cache_core::conformance_tests! {
    mod single_over_the_redis_crate in real time with foreign = async { over_the_redis_crate(Kind::Single).await };
}

cache_core::conformance_tests! {
    mod cluster_over_the_redis_crate in real time with foreign = async { over_the_redis_crate(Kind::Cluster).await };
}

cache_core::conformance_tests! {
    mod the_whole_stack_on_a_single_server in real time with foreign = async { whole(Kind::Single).await };
}

cache_core::conformance_tests! {
    mod the_whole_stack_on_a_cluster in real time with foreign = async { whole(Kind::Cluster).await };
}

/// What `cache_stack` makes of a configuration that asks for every layer.
async fn whole(kind: Kind) -> Subject {
    let prefix = "stack:";
    let (client, servers) = stack::connect(kind, prefix).await;
    Subject::new(client)
        .with_foreign_values(Lists::under(servers, prefix))
        .with_longest_key(MAX_KEY_LEN - prefix.len())
        .with_drops(10_000)
}

/// A client that uses the other implementation of the wire.
async fn over_the_redis_crate(kind: Kind) -> Subject {
    let client = connect_over(kind, Wire::Redis).await;
    Subject::new(Arc::clone(&client))
        .with_foreign_values(Lists::of(client))
        .with_drops(1_000)
}

/// A client of the shared servers, as every service has it: behind `Arc<dyn CacheClient>`.
async fn subject(kind: Kind) -> Subject {
    let client = connect(kind).await;
    let shared: Arc<dyn CacheClient> = Arc::<ValkeyClient>::clone(&client);
    Subject::new(shared)
        .with_foreign_values(Lists::of(client))
        .with_drops(10_000)
}
