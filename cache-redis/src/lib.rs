//! The cache contract over connections of the [`redis`] crate that a service has already.
//!
//! For migrations: a service moves to [`CacheClient`](cache_core::CacheClient) call by call, and keeps the connections,
//! the pool and the settings it has. When nothing uses the `redis` crate any more, `cache_stack::from_env()` takes the
//! place of [`RedisCache`], and nothing else changes.
//!
//! | the service has | constructor | feature |
//! |---|---|---|
//! | `redis::aio::MultiplexedConnection` | [`RedisCache::from_connection`] | |
//! | `redis::aio::ConnectionManager` | `RedisCache::from_manager` | `connection-manager` |
//! | `redis::cluster_async::ClusterConnection` | `RedisCache::from_cluster` | `cluster` |
//! | `deadpool_redis::Pool` | `RedisCache::from_pool` | `deadpool` |
//! | `deadpool_redis::cluster::Pool` | `RedisCache::from_cluster_pool` | `cluster`, `deadpool` |
//!
//! It fits version 1 of the `redis` crate, from 1.8, and version 0.23 of `deadpool-redis`. Features that change how a
//! service connects (TLS, IAM tokens) are the service's to switch on. Both crates are exported, so that a service can name
//! the same version.
//!
//! # What it promises, and what not
//!
//! The whole contract: misses, TTLs to the millisecond, exact counters, atomic conditional writes, many keys in any
//! slots, errors that say whether the call may have been carried out. What hangs on the connection is the service's:
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
//! Reads go to replicas if the cluster connection was made so; then a caller may not see its own write at once.
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
