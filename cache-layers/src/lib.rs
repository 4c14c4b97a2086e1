//! Layers that wrap a cache client, and recipes built on top of one.
//!
//! Nothing in here names a vendor, and no layer names another one: they meet only in
//! [`CacheClient`](cache_core::CacheClient).
//!
//! # Layers
//!
//! A layer is a [`CacheClient`](cache_core::CacheClient) that wraps another one.
//!
//! | layer | what it does |
//! |---|---|
//! | [`Prefixed`] | puts a prefix before every key |
//! | [`Observed`] | counts, times and traces every call |
//! | [`Tiered`] | keeps a near cache in this process, and drops entries when they change |
//! | `Encrypted` (feature `encryption`) | encrypts values, with keys that rotate |
//! | [`Guarded`] | adds a deadline and a circuit breaker, and can treat an unavailable backend as an empty cache |
//!
//! # Recipes
//!
//! A recipe uses a client, bare or layered, to solve one problem.
//!
//! | recipe | what it does |
//! |---|---|
//! | [`ReadThrough`] | loads missing values, once for all callers that want the same key |
//! | [`Lock`] | lets one process of a fleet work at a time, with a fencing number |
//! | [`Idempotency`] | runs a request once and replays its response to retries |
//! | [`RateLimiter`] | limits how much a subject may do in a window of time |
//! | [`Generations`] | makes all old keys of a namespace unreachable with one call |
//!
//! The tower middleware for [`Idempotency`] and [`RateLimiter`] is in `http` (feature `tower`). Layers and recipes
//! report what they do to a [`Listener`]; [`CacheMetrics`] makes metrics from that.
//!
//! # The order of layers
//!
//! ```text
//! caller
//!   |
//!   v
//! Prefixed            keys get their prefix; everything below sees the backend's keys
//!   |
//! Observed("edge")    measures what callers see, near hits included
//!   |
//! Tiered              the near cache: a hit ends here
//!   |
//! Encrypted           the near cache holds plain values, the remote cache only sealed ones
//!   |
//! Observed("far")     measures what the backend is asked
//!   |
//! Guarded             deadline and circuit breaker, for the backend only
//!   |
//!   v
//! client              talks to the backend
//! ```
//!
//! Leave out the layers that you do not need. Without [`Tiered`], one [`Observed`] is enough.
//!
//! A wrong order is `Guarded > Tiered > client`. Near hits would pay for the deadline and count as successful calls
//! of the backend, so the circuit would open late or never. Once open, it would reject calls that the near cache
//! could have answered.

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
