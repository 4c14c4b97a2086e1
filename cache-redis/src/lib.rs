//! The cache contract over existing connections of the [`redis`] crate.
//!
//! For migrations: a service moves to [`CacheClient`](cache_core::CacheClient) call by call, and keeps its
//! connections, pool and settings. Once nothing else uses the `redis` crate, replace [`RedisCache`] by
//! `cache_stack::from_env()`; nothing else changes.
//!
//! | the service has | constructor | feature |
//! |---|---|---|
//! | `redis::aio::MultiplexedConnection` | [`RedisCache::from_connection`] | |
//! | `redis::aio::ConnectionManager` | `RedisCache::from_manager` | `connection-manager` |
//! | `redis::cluster_async::ClusterConnection` | `RedisCache::from_cluster` | `cluster` |
//! | `deadpool_redis::Pool` | `RedisCache::from_pool` | `deadpool` |
//! | `deadpool_redis::cluster::Pool` | `RedisCache::from_cluster_pool` | `cluster`, `deadpool` |
//!
//! It supports version 1 of the `redis` crate, from 1.8, and version 0.23 of `deadpool-redis`. The service
//! enables features that change how it connects (TLS, IAM tokens). Both crates are re-exported, so that a
//! service can use the same version.
//!
//! # What it promises, and what not
//!
//! It implements the whole contract: misses, TTLs to the millisecond, exact counters, atomic conditional
//! writes, many keys in any slots, and errors that say whether the call may have been applied. What depends
//! on the connection is up to the service:
//!
//! | | here | `cache-valkey` |
//! |---|---|---|
//! | changes made elsewhere are reported ([`invalidations`](cache_core::CacheClient::invalidations)) | no; a near cache keeps entries for a short time only | yes |
//! | deadline of a call | 3 s unless set, around the timeouts of the connection and the pool (0.5 s for a reply, unless set) | one for the whole call |
//! | a lost connection | the call fails; the manager and the pools connect again, a bare connection does not | what is safe is repeated |
//! | writes that must not be done twice, in a cluster | repeated by the `redis` crate, unless it was told `retries(0)` | never repeated |
//! | outcome of a failed write, in a cluster | unknown | known if it can be |
//! | a failover | as the connection handles it | followed, also by sentinels and changed names |
//! | who the server is (cluster, role) is checked | no | yes |
//! | memory of calls that wait | each has copies of its values, a batch of all of them | bounded |
//! | [`close`](cache_core::CacheClient::close) | ends this client's calls; the connection stays open | closes the connections |
//! | administration (`cache-admin`) | no | yes |
//!
//! Reads go to replicas if the cluster connection is configured that way. Then a caller may not see its own
//! write at once.
//!
//! Not in here: opening connections, and layers. `cache_stack::wrap` puts layers around any client.

#[cfg(feature = "deadpool")]
pub use deadpool_redis;
pub use redis;

mod batch;
mod cache;
mod calls;
mod connection;
mod contract;
mod error;
mod reply;
mod script;

pub use cache::RedisCache;
pub use contract::MAX_VALUE_LEN;
