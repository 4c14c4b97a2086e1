//! The Valkey client (any server of the Redis protocol from Redis 6 on) behind the cache contract.
//!
//! [`ValkeyClient`] speaks to a single server, a cluster or a primary that sentinels watch, as a
//! [`ValkeyConfig`](cache_core::config::ValkeyConfig) says. No type of the wire crate crosses this API.

mod backoff;
mod cluster;
mod command;
mod deadline;
mod dial;
mod error;
mod node;
mod reply;
mod resolve;
mod retry;
mod tls;
mod wire;

pub use resolve::Resolve;
