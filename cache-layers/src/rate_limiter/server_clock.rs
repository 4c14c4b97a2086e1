//! A clock that all processes on one cache share: the server's.
//!
//! The contract has no call that asks a server for its time. But the life of a key is counted by the
//! server's clock. So there is one key, the anchor, whose life ends at a moment that was agreed on beforehand,
//! 200 years after 1970: what is left of its life says what time it is. Whoever finds none makes one by
//! its own clock; from then on all go by the server's. It is asked for every 10 seconds; in between this
//! process's monotonic clock goes on.
//!
//! Two processes differ by at most half of the round trips of their measurements.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheClient, CacheError, Ttl};

use crate::clock::WallClock;

/// When the anchor's life ends, counted from 1970. A monotonic clock of 64 bits of nanoseconds holds it.
const END: Duration = Duration::from_secs(200 * 365 * 24 * 60 * 60);
/// A measurement that is older is repeated, by the way.
const FRESH: Duration = Duration::from_secs(10);
/// One that is older is not gone by: the call waits for a new one.
const USABLE: Duration = Duration::from_secs(60);
/// How far, at most, two good clocks differ after a second.
const DRIFT: f64 = 200e-6;

#[derive(Debug)]
pub(super) struct ServerClock {
    client: Arc<dyn CacheClient>,
    anchor: String,
    wall: Arc<dyn WallClock>,
    last: Mutex<Option<Reading>>,
    /// Held by whoever measures.
    measuring: tokio::sync::Mutex<()>,
}

/// What the server's clock showed.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    /// Since 1970.
    shown: Duration,
    /// By how much it may be wrong.
    error: Duration,
}

impl Reading {
    fn now(&self) -> Duration {
        self.shown + self.age()
    }

    fn age(&self) -> Duration {
        clock::now().saturating_duration_since(self.at)
    }

    fn error_now(&self) -> Duration {
        self.error + self.age().mul_f64(DRIFT)
    }

    /// The better of two; the newer where they contradict each other, since then the server's clock was set.
    fn or_newer(self, newer: Self) -> Self {
        let apart = self.now().abs_diff(newer.now());
        if self.error_now() < newer.error_now() && apart <= self.error_now() + newer.error_now() {
            // Still the better one, and known to be; it is not asked for again at once.
            Self {
                at: clock::now(),
                shown: self.now(),
                error: self.error_now(),
            }
        } else {
            newer
        }
    }
}

impl ServerClock {
    pub(super) fn new(client: Arc<dyn CacheClient>, anchor: String, wall: Arc<dyn WallClock>) -> Self {
        Self {
            client,
            anchor,
            wall,
            last: Mutex::default(),
            measuring: tokio::sync::Mutex::default(),
        }
    }

    /// The time, measured first if need be. A measurement that is only getting old is repeated in a task of
    /// its own, and this call does not wait for it.
    pub(super) async fn now(self: &Arc<Self>) -> Result<Duration, CacheError> {
        match self.last().filter(|last| last.age() < USABLE) {
            Some(last) => {
                if last.age() >= FRESH && self.measuring.try_lock().is_ok() {
                    let this = Arc::clone(self);
                    // Where it fails, a later call tries again; one that comes too late hears of it.
                    tokio::spawn(async move { this.measured(FRESH).await.map(drop) });
                }
                Ok(last.now())
            }
            None => self.measured(USABLE).await,
        }
    }

    /// The time by the last measurement, whatever its age; for those who have asked before.
    pub(super) fn still(&self) -> Option<Duration> {
        self.last().map(|last| last.now())
    }

    /// Measures, unless somebody else has just done so: one at a time.
    async fn measured(&self, oldest: Duration) -> Result<Duration, CacheError> {
        let _turn = self.measuring.lock().await;
        if let Some(last) = self.last().filter(|last| last.age() < oldest) {
            return Ok(last.now());
        }
        let newer = self.measure().await?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let best = match *last {
            Some(last) if last.age() < USABLE => last.or_newer(newer),
            _ => newer,
        };
        *last = Some(best);
        Ok(best.now())
    }

    async fn measure(&self) -> Result<Reading, CacheError> {
        // Once to find none, once to read the one that was made, and once more in case it went at once.
        for _ in 0..3 {
            let sent = clock::now();
            match self.client.ttl(&self.anchor).await {
                Ok(Ttl::After(left)) if left <= END => {
                    let took = clock::now() - sent;
                    return Ok(Reading {
                        at: sent + took / 2,
                        shown: END - left,
                        // Lives are told in whole milliseconds.
                        error: took / 2 + Duration::from_millis(1),
                    });
                }
                Ok(_) => {
                    return Err(CacheError::Corrupt {
                        detail: "the clock key of the rate limiter has a life that none of them gave it; \
                                 delete it"
                            .into(),
                        source: None,
                    });
                }
                Err(CacheError::Miss) => {
                    let life = END.saturating_sub(self.wall.since_epoch());
                    let life = Ttl::After(life.max(Duration::from_millis(1)));
                    self.client.set_if_absent(&self.anchor, "1".into(), life).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(CacheError::Corrupt {
            detail: "the clock key of the rate limiter is gone as soon as it is made".into(),
            source: None,
        })
    }

    fn last(&self) -> Option<Reading> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
