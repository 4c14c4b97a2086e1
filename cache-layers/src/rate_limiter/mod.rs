//! So much in such a time, for a whole fleet.
//!
//! In here: [`RateLimiter`] and what it promises. The arithmetic of windows is in `quota.rs`, the clock that
//! all processes share in `server_clock.rs`. Not in here: HTTP, and other layers. A limiter stands on top of
//! any client.
//!
//! # What is promised
//!
//! - **Never more than the limit in a window**, from however many processes at once: each call adds its cost
//!   to the window's counter, atomically, and may go on only where the sum is within the limit.
//! - **A denied call uses nothing up**: it takes its cost back, from the very window that it was added to,
//!   before it is answered, also where its caller has left by then. While it does, calls that cost less
//!   may find the limit used up; they look again and are denied only where it still is.
//! - **The server's clock** says in which window a call is, not that of the process. A call whose answer
//!   comes after the end of its window is tried again in the next.
//! - **One round trip**, the counters of both windows asked at the same time; two where the call is denied,
//!   and none where a call of the same subject was denied within the last
//!   [`denial_memory`](RateLimiterConfigBuilder::denial_memory). Every ten seconds one more, which nobody waits for.
//!
//! - **A deadline**: no call waits for the cache for longer than [`deadline`](RateLimiterConfigBuilder::deadline),
//!   and none waits for another call.
//!
//! What becomes of a call where the cache fails is said by [`OnError`]. A call that timed out, or whose future
//! was dropped, may have been counted.
//!
//! # What is not
//!
//! Counters that were evicted, flushed, or lost by a failover begin anew: up to the limit more is then
//! allowed in that window. A client that answers reads from replicas adds what these lag behind to what clocks
//! differ. A process that could not read the server's clock yet goes by its own: while the one server that has the
//! clock key is down, and keys of others are counted. On a near tier the counter of the window before may be read near: it does not change any more.
//!
//! # Sliding windows
//!
//! [`Quota::sliding`] is the sliding window counter: two counters per subject instead of a log of all
//! calls, by Cloudflare's ["How we built rate limiting capable of scaling to millions of
//! domains"](https://blog.cloudflare.com/counting-things-a-lot-of-different-things/), who measured 0.003 % of
//! requests wrongly decided. It takes what the window before used as spread evenly over that window. So:
//!
//! - in a window never more than the limit;
//! - in any time of `d` windows, `d` up to 1, wherever it begins, never more than `limit * (1 + d)`: at most
//!   twice the limit in the time of a window, where all of it was used at the end of one and then as fast as
//!   allowed; around an edge, where a fixed window allows twice the limit at once, nothing beyond the limit;
//! - a call may be denied although less than the limit was used in the last window's time, where that
//!   was used early in it.
//!
//! That holds up to what the processes' readings of the server's clock differ, at most half of a round trip each.
//!
//! # In the cache
//!
//! Beside the subject, in its slot of a cluster, at `SUBJECT:#limit:WINDOW:INDEX` an integer that lives for two
//! windows: the window's length in milliseconds and its number since 1970. Behind the name of a subject without a
//! hash tag follow `:#` and three letters or digits that depend on all of it. So
//! subjects with different windows never meet, those that differ in the limit only share. A pattern that
//! covers the subject and ends in `*` covers them: to remove them is to forget what was used.
//!
//! # Examples
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use cache_core::{Keyspace, MemoryCache};
//! use cache_layers::{Quota, RateLimiter, RateLimiterConfig};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let limiter = RateLimiter::new(Arc::new(MemoryCache::default()), RateLimiterConfig::default());
//! let keys = Keyspace::new("billing")?.tenant("acme")?;
//! let free_tier = Quota::sliding(2, Duration::from_secs(60));
//!
//! let subject = keys.key(["api"]);
//! assert!(limiter.check(&subject, &free_tier).await?.allowed);
//! assert!(limiter.check(&subject, &free_tier).await?.allowed);
//! let third = limiter.check(&subject, &free_tier).await?;
//! assert!(!third.allowed);
//! assert!(third.retry_after.is_some());
//! # Ok::<(), cache_core::CacheError>(())
//! # }).unwrap();
//! ```

mod config;
mod decision;
mod denials;
mod events;
mod quota;
mod server_clock;

use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheClient, CacheError, Ttl};

pub use self::config::{OnError, RateLimiterConfig, RateLimiterConfigBuilder};
pub use self::decision::Decision;
pub use self::events::{RateLimiterEvent, RateLimiterStats};
pub use self::quota::Quota;

use self::denials::Denials;
use self::events::Counters;
use self::quota::{Frame, Used};
use self::server_clock::ServerClock;
use crate::beside::{beside, check_room};
use crate::listener::MaybeListener;
use crate::within::within;

/// How often a call is tried whose window ended, or that others' costs on their way back got in the way of.
const TRIES: u32 = 4;
/// What the life of a counter is longer than it is needed: for clocks that differ, and late answers.
const SLACK: Duration = Duration::from_secs(10);
/// `limit:`, two numbers and the colon between them.
const ROOM: usize = 6 + 20 + 1 + 20;

/// Allows so much in such a time. See the [module](self) for what is promised.
///
/// Cheap to clone; clones are the same limiter. Several of them on one cache, in one process or in many,
/// count together as long as they use the same subjects and windows.
#[derive(Clone, Debug)]
pub struct RateLimiter {
    core: Arc<Core>,
}

#[derive(Debug)]
struct Core {
    client: Arc<dyn CacheClient>,
    on_error: OnError,
    deadline: Duration,
    clock: Arc<ServerClock>,
    denials: Denials,
    counters: Counters,
    listener: MaybeListener<RateLimiterEvent>,
}

impl RateLimiter {
    /// A limiter on top of `client`.
    #[must_use]
    pub fn new(client: Arc<dyn CacheClient>, config: RateLimiterConfig) -> Self {
        Self {
            core: Arc::new(Core {
                clock: Arc::new(ServerClock::new(
                    Arc::clone(&client),
                    config.clock_key,
                    config.clock,
                    // So that a call has time left to count in.
                    config.deadline / 2,
                )),
                deadline: config.deadline,
                client,
                on_error: config.on_error,
                denials: Denials::new(config.denial_memory),
                counters: Counters::default(),
                listener: config.listener,
            }),
        }
    }

    /// The client that it stands on.
    #[must_use]
    pub fn client(&self) -> &Arc<dyn CacheClient> {
        &self.core.client
    }

    /// How often what happened.
    #[must_use]
    pub fn stats(&self) -> RateLimiterStats {
        self.core.counters.snapshot()
    }

    /// Whether `subject` may do one more thing, which then counts. [`check_cost`](Self::check_cost) with a
    /// cost of 1.
    ///
    /// # Errors
    ///
    /// As [`check_cost`](Self::check_cost).
    ///
    /// # Cancel safety
    ///
    /// As [`check_cost`](Self::check_cost).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn check(&self, subject: &str, quota: &Quota) -> Result<Decision, CacheError> {
        self.check_cost(subject, quota, 1).await
    }

    /// Whether `subject` may do something that costs `cost`, 1 up to the limit; all of it or nothing.
    ///
    /// `subject` is a key, best made by a [`Keyspace`](cache_core::Keyspace).
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for a subject that is no key or leaves no room for what is beside it, a
    /// quota that cannot be, a cost of 0 or beyond the limit. Where the cache fails, what [`OnError`] says.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the call may or may not have been counted.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn check_cost(&self, subject: &str, quota: &Quota, cost: u64) -> Result<Decision, CacheError> {
        quota.check(cost)?;
        check_room(subject, ROOM)?;
        match within(self.core.deadline, self.core.decide(subject, quota, cost)).await {
            Ok(decision) => Ok(decision),
            Err(error) => {
                let event = RateLimiterEvent::Uncounted { error: error.clone() };
                self.core.note(&event);
                match self.core.on_error {
                    OnError::Allow => Ok(Decision::uncounted(quota, true)),
                    OnError::Deny => Ok(Decision::uncounted(quota, false)),
                    OnError::Fail => Err(error),
                }
            }
        }
    }
}

impl Core {
    fn note(&self, event: &RateLimiterEvent) {
        self.counters.count(event);
        self.listener.tell(event);
    }

    async fn decide(&self, subject: &str, quota: &Quota, cost: u64) -> Result<Decision, CacheError> {
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let frame = quota.frame(self.clock.now().await?);
            let key = window_key(subject, quota, frame.index);
            if let Some(used) = self.denials.recall(&key)
                && !frame.allows(with(used, cost))
            {
                self.note(&RateLimiterEvent::Denied { from_memory: true });
                return Ok(Decision::denied(&frame, quota, used, cost));
            }
            let used = self.charge(&key, subject, &frame, quota, cost).await?;
            let over = self.clock.still().map(|now| quota.frame(now));
            let over = over.is_some_and(|now| now.index != frame.index);
            if frame.allows(used) && (!over || tries == 0) {
                self.note(&RateLimiterEvent::Allowed);
                return Ok(Decision::allowed(&frame, quota, used));
            }
            let used = Used {
                now: self.refund(&key, quota, cost, used.now).await,
                ..used
            };
            // Somebody else's cost that was on its way back, or a window that ended.
            if tries > 0 && (over || frame.allows(with(used, cost))) {
                continue;
            }
            self.denials.remember(&key, used);
            self.note(&RateLimiterEvent::Denied { from_memory: false });
            return Ok(Decision::denied(&frame, quota, used, cost));
        }
    }

    /// Adds `cost` to the counter of the window; what is used then.
    async fn charge(
        &self,
        key: &str,
        subject: &str,
        frame: &Frame,
        quota: &Quota,
        cost: u64,
    ) -> Result<Used, CacheError> {
        let charging = self.client.incr_by(key, signed(cost), life(quota));
        if !frame.sliding {
            let now = unsigned(charging.await?);
            return Ok(Used { before: 0, now });
        }
        let previous = window_key(subject, quota, frame.index.saturating_sub(1));
        let (charged, before) = futures::join!(charging, self.client.get(&previous));
        let now = unsigned(charged?);
        let before = match before {
            Ok(count) => parse(&count),
            Err(CacheError::Miss) => Ok(0),
            Err(error) => Err(error),
        };
        match before {
            Ok(before) => Ok(Used { before, now }),
            Err(error) => {
                self.refund(key, quota, cost, now).await;
                Err(error)
            }
        }
    }

    /// Takes `cost` back from the counter of the window; what is used then. In a task of its own, so that
    /// a caller who leaves does not keep it from being done. Where the cache fails, the window counts
    /// more than was allowed, and ends with that.
    async fn refund(&self, key: &str, quota: &Quota, cost: u64, now: u64) -> u64 {
        let (client, key, life) = (Arc::clone(&self.client), key.to_owned(), life(quota));
        let refunding = tokio::spawn(async move {
            let left = client.incr_by(&key, -signed(cost), life).await?;
            if left < 0 {
                // The counter had gone meanwhile, and with it what this takes back.
                return client.incr_by(&key, signed(cost), life).await;
            }
            Ok::<_, CacheError>(left)
        });
        match refunding.await {
            Ok(Ok(left)) => unsigned(left),
            Ok(Err(_)) | Err(_) => now.saturating_sub(cost),
        }
    }
}

fn window_key(subject: &str, quota: &Quota, index: u64) -> String {
    beside(subject, &format!("limit:{}:{index}", quota.window().as_millis()))
}

/// A counter is read until the end of the window after its own.
fn life(quota: &Quota) -> Ttl {
    Ttl::After(quota.window() * 2 + SLACK)
}

const fn with(used: Used, cost: u64) -> Used {
    Used {
        now: used.now.saturating_add(cost),
        ..used
    }
}

fn signed(cost: u64) -> i64 {
    i64::try_from(cost).unwrap_or(i64::MAX)
}

/// What others take back may be in front of what they add, after a flush.
fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

fn parse(count: &[u8]) -> Result<u64, CacheError> {
    let count = std::str::from_utf8(count).ok().and_then(|text| text.parse().ok());
    count.map(unsigned).ok_or_else(|| CacheError::Corrupt {
        detail: "the counter of a rate limit is no integer".into(),
        source: None,
    })
}
