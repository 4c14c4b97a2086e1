//! Limits how much a subject may do in a window of time, across all processes on one cache.
//!
//! In here: [`RateLimiter`] and what it promises. The arithmetic of windows is in `quota.rs`, the clock that all
//! processes share in `server_clock.rs`. Not in here: HTTP, and other layers. A limiter works on top of any client.
//!
//! # What is promised
//!
//! - **Never more than the limit in a window**, however many processes call at once. Each call adds its cost to the
//!   window's counter atomically, and may go on only if the sum is within the limit.
//! - **A denied call uses nothing up.** It takes its cost back from the window that it was added to before it is
//!   answered, even if its caller has left by then. Until then, calls that cost less may find the limit used up. They
//!   look again, and are denied only if it still is.
//! - **The server's clock** decides in which window a call is, not the clock of the process. A call that is answered
//!   after the end of its window is tried again in the next one.
//! - **One round trip**, which asks for the counters of both windows at the same time. Two if the call is denied.
//!   None if a call of the same subject was denied within the last
//!   [`denial_memory`](RateLimiterConfigBuilder::denial_memory). One more every ten seconds, which no call waits for.
//! - **A deadline.** No call waits for the cache for longer than [`deadline`](RateLimiterConfigBuilder::deadline),
//!   and no call waits for another one.
//!
//! [`OnError`] decides what happens to a call if the cache fails. A call that timed out, or whose future was dropped,
//! may have been counted.
//!
//! # What is not
//!
//! - Counters that were evicted, flushed or lost by a failover start again. In that window up to the limit more is
//!   then allowed.
//! - If the client answers reads from replicas, the lag of these adds to the difference of clocks.
//! - A process that could not read the server's clock yet goes by its own clock. That happens while the one server
//!   with the clock key is down, and keys of others are counted.
//! - On a near cache the counter of the window before may be read near. It does not change any more.
//!
//! # Sliding windows
//!
//! [`Quota::sliding`] is the sliding window counter: two counters per subject instead of a log of all calls. It
//! follows Cloudflare's ["How we built rate limiting capable of scaling to millions of
//! domains"](https://blog.cloudflare.com/counting-things-a-lot-of-different-things/), which measured 0.003 % of
//! requests wrongly decided. It assumes that the use of the window before was spread evenly over that window. So:
//!
//! - In a window never more than the limit is used.
//! - In any period of `d` windows, `d` up to 1, wherever it begins, never more than `limit * (1 + d)` is used. That
//!   is at most twice the limit in the time of a window, if all of it was used at the end of one window and then as
//!   fast as allowed. Around an edge, where a fixed window allows twice the limit at once, nothing beyond the limit
//!   is allowed.
//! - A call may be denied although less than the limit was used in the last window's time, if that was used early in
//!   it.
//!
//! These bounds hold up to the difference between the processes' readings of the server's clock: at most half of a
//! round trip each.
//!
//! # In the cache
//!
//! An integer next to the subject, in its slot of a cluster, at `SUBJECT:#limit:WINDOW:INDEX`, with a TTL of two
//! windows. The name holds the window's length in milliseconds and its number since 1970. If the subject has no hash
//! tag, `:#` and three letters or digits follow that depend on the rest of the name. So different windows of a
//! subject never share a counter, while quotas that differ only in the limit do. A pattern that covers the subject
//! and ends in `*` covers the counters. Removing them forgets what was used.
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

use cache_core::deadline::counted_from;
use cache_core::{CacheClient, CacheError, Ttl, clock};

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
use crate::within::ended_after;

/// How often a call is tried if its window ended, or if costs that others were taking back got in the way.
const TRIES: u32 = 4;
/// How much longer than needed a counter is stored: for clocks that differ, and late answers.
const SLACK: Duration = Duration::from_secs(10);
/// `limit:`, two numbers and the colon between them.
const ROOM: usize = 6 + 20 + 1 + 20;

/// Allows so much in such a time. See the [module](self) for what is promised.
///
/// Cheap to clone. Clones are the same limiter. Several limiters on one cache, in one process or in many, count
/// together if they use the same subjects and windows.
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
    /// Creates a limiter on top of `client`.
    #[must_use]
    pub fn new(client: Arc<dyn CacheClient>, config: RateLimiterConfig) -> Self {
        Self {
            core: Arc::new(Core {
                clock: Arc::new(ServerClock::new(
                    Arc::clone(&client),
                    config.clock_key,
                    config.clock,
                    // Half, so that the call has time left to count.
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

    /// Returns the client that stores the counters.
    #[must_use]
    pub fn client(&self) -> &Arc<dyn CacheClient> {
        &self.core.client
    }

    /// Returns the counters of decisions.
    #[must_use]
    pub fn stats(&self) -> RateLimiterStats {
        self.core.counters.snapshot()
    }

    /// Decides whether `subject` may do one more thing, and counts it. The same as [`check_cost`](Self::check_cost)
    /// with a cost of 1.
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

    /// Decides whether `subject` may do something that costs `cost`, from 1 up to the limit. All of the cost counts,
    /// or none.
    ///
    /// `subject` is a key, best built by a [`Keyspace`](cache_core::Keyspace).
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for an invalid subject or one that leaves no room for the counter's name, for an
    /// invalid quota, and for a cost of 0 or beyond the limit. If the cache fails, [`OnError`] decides.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the call may or may not have been counted.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn check_cost(&self, subject: &str, quota: &Quota, cost: u64) -> Result<Decision, CacheError> {
        quota.check(cost)?;
        check_room(subject, ROOM)?;
        match ended_after(self.core.deadline, self.core.decide(subject, quota, cost)).await {
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
        let (mut tries, mut begun) = (TRIES, None);
        loop {
            tries -= 1;
            let frame = quota.frame(self.clock.now().await?);
            // Not before: the clock may be on a server that does not answer, and the subject on one that does.
            let begun = *begun.get_or_insert_with(clock::now);
            let key = window_key(subject, quota, frame.index);
            if let Some(used) = self.denials.recall(&key)
                && !frame.allows(with(used, cost))
            {
                self.note(&RateLimiterEvent::Denied { from_memory: true });
                return Ok(Decision::denied(&frame, quota, used, cost));
            }
            let charge = self.charge(&key, subject, &frame, quota, cost);
            let used = counted_from(begun, charge).await?;
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
            // Another call was taking its cost back, or the window ended.
            if tries > 0 && (over || frame.allows(with(used, cost))) {
                continue;
            }
            self.denials.remember(&key, used);
            self.note(&RateLimiterEvent::Denied { from_memory: false });
            return Ok(Decision::denied(&frame, quota, used, cost));
        }
    }

    /// Adds `cost` to the counter of the window. Returns the use after that.
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

    /// Takes `cost` back from the counter of the window. Returns the use after that. It runs in a separate task, so
    /// that a caller that leaves does not prevent it. If the cache fails, the window counts more than was allowed
    /// until it ends.
    async fn refund(&self, key: &str, quota: &Quota, cost: u64, now: u64) -> u64 {
        let (client, key, life) = (Arc::clone(&self.client), key.to_owned(), life(quota));
        let refunding = tokio::spawn(async move {
            let left = client.incr_by(&key, -signed(cost), life).await?;
            if left < 0 {
                // The counter was lost in between, and with it the cost that this takes back.
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

/// After a flush, what others take back may arrive before what they add.
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
