//! The generations of namespaces, in virtual time.
//!
//! Several `Generations` over one `MemoryCache` stand for several processes on one server.

#![expect(clippy::unwrap_used, reason = "a test ends where its preparations fail")]

mod lost;
mod near;
mod stepping;
#[path = "../wire/mod.rs"]
mod wire;

use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheClient, Keyspace};
use cache_layers::{Generations, GenerationsConfig};

const NEAR: Duration = Duration::from_secs(1);

fn over(client: impl CacheClient) -> Generations {
    Generations::new(Arc::new(client), GenerationsConfig::default())
}

fn billing() -> Keyspace {
    Keyspace::new("billing").unwrap()
}

const COUNTER: &str = "billing:v1:#generation";
