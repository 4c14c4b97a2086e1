//! Locks, rate limits and generations on real servers, by several clients at once.

#[path = "../conformance/backend.rs"]
mod backend;
mod generations;
mod limiter;
mod lock;
mod lock_faults;

use std::sync::Arc;

use cache_core::CacheClient;
use futures::future::join_all;
use tests::Kind;

/// How many tasks are at it at once.
const TASKS: usize = 100;

/// Four clients of the shared servers, as of four processes.
async fn clients(kind: Kind) -> Vec<Arc<dyn CacheClient>> {
    let clients = join_all((0..4).map(|_| backend::connect(kind))).await;
    clients
        .into_iter()
        .map(|client| client as Arc<dyn CacheClient>)
        .collect()
}

/// A key of one's own on shared servers.
fn unique(name: &str) -> String {
    format!("recipes:{:032x}:{name}", rand::random::<u128>())
}
