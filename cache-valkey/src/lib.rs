//! The Valkey client behind the cache contract. It works with any server of the Redis protocol, from Redis 6 on.
//!
//! [`ValkeyClient`] connects to a single server, a cluster, or a primary behind sentinels, as
//! [`ValkeyConfig`](cache_core::config::ValkeyConfig) says. [`admin`] is the entry point for tools that work
//! on each primary separately. [`Tracking`] chooses how the client learns about changed keys. No type of the
//! `redis` crate appears in this API.

pub mod admin;
mod aging;
mod background;
mod backoff;
mod client;
mod cluster;
mod command;
mod connect;
mod deadline;
mod dial;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
#[expect(clippy::missing_panics_doc, reason = "for fuzz targets only")]
pub mod fuzzing;
mod identity;
mod node;
mod primary_discovery;
mod refresher;
mod refusals;
mod reply;
mod resolve;
mod retry;
mod router;
mod schedule;
mod script;
mod sentinel;
mod single;
mod startup;
mod stats;
mod tls;
mod tracking;
mod wire;

pub use client::{Builder, MAX_VALUE_LEN, Request, ValkeyClient};
pub use command::Effect;
pub use reply::{Reply, ServerError};
pub use resolve::Resolve;
pub use script::Script;
pub use stats::{ConnectionStats, NodeStats};
pub use tracking::Tracking;
pub use wire::Wire;
