//! What wraps a cache client, and what is built on one.
//!
//! Nothing in here names a vendor, and no layer names another one: they meet in
//! [`CacheClient`](cache_core::CacheClient) only.

mod beside;
mod clock;
mod each;
#[cfg(feature = "encryption")]
pub mod encrypted;
pub mod generations;
pub mod guarded;
#[cfg(feature = "tower")]
pub mod http;
pub mod idempotency;
#[cfg(feature = "encryption")]
pub mod keyset;
mod listener;
pub mod lock;
pub mod metrics;
mod near;
pub mod observed;
mod prefixed;
pub mod rate_limiter;
pub mod read_through;
mod refuse;
mod shared_task;
pub mod tiered;
mod wakes;
mod within;

pub use clock::{SystemClock, WallClock};
#[cfg(feature = "encryption")]
pub use encrypted::{Encrypted, EncryptedConfig, Keyring, KeyringConfig};
pub use generations::{Generation, Generations, GenerationsConfig};
pub use guarded::{Guarded, GuardedConfig};
pub use idempotency::{Idempotency, IdempotencyConfig};
pub use listener::Listener;
pub use lock::{Fence, Held, Lock, LockConfig, LockError};
pub use metrics::CacheMetrics;
pub use near::{NearConfig, NearStats, NearStatus};
pub use observed::{Observed, ObservedConfig};
pub use prefixed::Prefixed;
pub use rate_limiter::{Decision, Quota, RateLimiter, RateLimiterConfig};
pub use read_through::{Loaded, ReadThrough, ReadThroughConfig, TypedReadThrough};
pub use tiered::Tiered;
