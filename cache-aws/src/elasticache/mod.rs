//! Users and user groups of ElastiCache, through its management API.
//!
//! [`ElastiCache`] sends one request per method and returns [`CacheError`](cache_core::CacheError).
//! [`Condition`] says what a refusal means to a caller that may retry.
//!
//! Not in here: which users there should be, the order of the requests, and waiting for a status.

mod client;
mod condition;
mod group;
mod user;

pub use client::ElastiCache;
pub use condition::Condition;
pub use group::{NewUserGroup, UserGroup};
pub use user::{Authentication, Login, NewUser, Status, User, UserChange};
