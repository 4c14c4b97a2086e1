//! A clock that all processes on one cache share: the server's.
//!
//! The contract has no call that asks a server for its time, but the server's clock counts the TTL of a key. So there
//! is one key, the anchor, whose TTL ends at an agreed moment, 200 years after 1970. What is left of its TTL gives
//! the time. A process that finds no anchor creates one by its own clock. From then on all processes go by the
//! server's clock. The anchor is read every 10 seconds. Between reads, and while the server does not answer, this
//! process's monotonic clock goes on.
//!
//! Two processes differ by at most half of the round trips of their measurements, plus the drift of their monotonic
//! clocks while the anchor cannot be read: less than a second in an hour.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheClient, CacheError, Ttl};

use crate::clock::WallClock;
use crate::shared_task::{Joined, SharedTask};
use crate::within::within;

/// When the anchor's TTL ends, counted from 1970. A monotonic clock of 64 bits of nanoseconds holds it.
const END: Duration = Duration::from_secs(200 * 365 * 24 * 60 * 60);
/// An older measurement is repeated in the background.
const FRESH: Duration = Duration::from_secs(10);
/// An older measurement is replaced by a newer one, however good it was.
const COMPARABLE: Duration = Duration::from_secs(60);
/// How long nothing is measured after a failed measurement.
const REST: Duration = Duration::from_secs(1);
/// How far, at most, two good clocks differ after a second.
const DRIFT: f64 = 200e-6;

#[derive(Debug)]
pub(super) struct ServerClock {
    client: Arc<dyn CacheClient>,
    anchor: String,
    wall: Arc<dyn WallClock>,
    /// How long a call waits for a measurement, and how long one may take.
    patience: Duration,
    last: Mutex<Option<Reading>>,
    /// When the last failed measurement began.
    failed: Mutex<Option<Instant>>,
    measuring: SharedTask<Result<Reading, CacheError>>,
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

    /// Returns the better of the two. If they contradict each other, the server's clock was set, so the newer one.
    fn or_newer(self, newer: Self) -> Self {
        let apart = self.now().abs_diff(newer.now());
        if self.error_now() < newer.error_now() && apart <= self.error_now() + newer.error_now() {
            // The old one is still better, and now confirmed. Dating it to now keeps it from being measured again at
            // once.
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
    pub(super) fn new(
        client: Arc<dyn CacheClient>,
        anchor: String,
        wall: Arc<dyn WallClock>,
        patience: Duration,
    ) -> Self {
        Self {
            client,
            anchor,
            wall,
            patience,
            last: Mutex::default(),
            failed: Mutex::default(),
            measuring: SharedTask::default(),
        }
    }

    /// Returns the time. Only the first call waits for a measurement. Later calls go by the last reading, however
    /// old, and start a new measurement in a task.
    ///
    /// If there is no reading yet because the anchor's server does not answer, this process's own time is used, so
    /// that keys of other servers are still counted. An error that is not transient is returned.
    pub(super) async fn now(self: &Arc<Self>) -> Result<Duration, CacheError> {
        if let Some(last) = self.last() {
            if last.age() >= FRESH && !self.failed_a_moment_ago() {
                drop(self.measurement());
            }
            return Ok(last.now());
        }
        if self.failed_a_moment_ago() {
            return Ok(self.wall.since_epoch());
        }
        let measured = tokio::time::timeout(self.patience, self.measurement().result()).await;
        match measured {
            Ok(Some(Ok(reading))) => Ok(reading.now()),
            Ok(Some(Err(error))) if !error.is_transient() => Err(error),
            _ => {
                self.note_failure();
                Ok(self.wall.since_epoch())
            }
        }
    }

    fn measurement(self: &Arc<Self>) -> Joined<Result<Reading, CacheError>> {
        self.measuring.join(|| {
            let this = Arc::clone(self);
            async move {
                let measured = within(this.patience, this.measure()).await;
                match &measured {
                    Ok(newer) => this.keep(*newer),
                    Err(_) => this.note_failure(),
                }
                measured
            }
        })
    }

    fn keep(&self, newer: Reading) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(match *last {
            Some(last) if last.age() < COMPARABLE => last.or_newer(newer),
            _ => newer,
        });
    }

    fn note_failure(&self) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_none_or(|at| clock::now().saturating_duration_since(at) >= REST * 10) {
            tracing::warn!(
                "the clock of the rate limiter cannot be read from the cache; it goes by the last reading, or by \
                 this process's own clock"
            );
        }
        *failed = Some(clock::now());
    }

    fn failed_a_moment_ago(&self) -> bool {
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| clock::now().saturating_duration_since(at) < REST)
    }

    /// The time by the last measurement, of any age. For callers that have asked before.
    pub(super) fn still(&self) -> Option<Duration> {
        self.last().map(|last| last.now())
    }

    async fn measure(&self) -> Result<Reading, CacheError> {
        // Once to find no anchor, once to read the new one, and once more in case it was deleted at once.
        for _ in 0..3 {
            let sent = clock::now();
            match self.client.ttl(&self.anchor).await {
                Ok(Ttl::After(left)) if left <= END => {
                    let took = clock::now() - sent;
                    return Ok(Reading {
                        at: sent + took / 2,
                        shown: END - left,
                        // TTLs are reported in whole milliseconds.
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
