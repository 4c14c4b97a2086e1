//! The clock that entries expire by: the machine's, unless DynamoDB's time shows that it is wrong.
//!
//! DynamoDB expressions cannot read the time, so each process compares expiries with its own clock. Every
//! response has a `Date`, to the second. Together with the times of request and response, it bounds the error
//! of the machine's clock. A clock within the bounds is used as it is; one outside is corrected to the nearer
//! bound. So two processes with NTP agree to the millisecond, and a machine that is minutes off still agrees
//! with the others to about two seconds.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_types::DateTime;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use aws_smithy_types::date_time::Format;

/// `Date` is truncated to the second, and may be a second old if a server formats it once per second.
const COARSE: i64 = 2_000;
/// How long an observation counts at least. After that the clock may have been set.
const FRESH: i64 = 60_000;

/// Tells the time since 1970.
pub(super) type WallClock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The clock of the machine.
pub(super) fn system() -> WallClock {
    Arc::new(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO)
    })
}

/// The clock that entries expire by.
pub(super) struct TableClock {
    wall: WallClock,
    /// What is added to the machine's time, in milliseconds.
    offset: AtomicI64,
    seen: Mutex<Seen>,
    /// Whether the correction was logged.
    warned: AtomicBool,
}

/// By how much the machine's clock may be behind, in milliseconds: at least, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Behind {
    least: i64,
    most: i64,
}

impl Behind {
    fn and(self, other: Self) -> Self {
        Self {
            least: self.least.max(other.least),
            most: self.most.min(other.most),
        }
    }

    const fn is_possible(self) -> bool {
        self.least <= self.most
    }

    /// The smallest correction that fits.
    const fn correction(self) -> i64 {
        if self.least > 0 {
            self.least
        } else if self.most < 0 {
            self.most
        } else {
            0
        }
    }
}

/// The observations of this minute, and of the one before.
#[derive(Debug, Default)]
struct Seen {
    since: i64,
    now: Option<Behind>,
    before: Option<Behind>,
}

impl Seen {
    fn add(&mut self, at: i64, behind: Behind) -> Behind {
        // Not `>=` alone: the machine's clock may have been set back.
        if !(0..FRESH).contains(&(at - self.since)) {
            self.before = self.now.take();
            self.since = at;
        }
        let now = self.now.map_or(behind, |now| now.and(behind));
        let all = self.before.map_or(now, |before| before.and(now));
        if all.is_possible() {
            self.now = Some(now);
            return all;
        }
        // The machine's clock was set, so only the newest observation is valid.
        *self = Self {
            since: at,
            now: Some(behind),
            before: None,
        };
        behind
    }
}

impl TableClock {
    pub(super) fn new(wall: WallClock) -> Self {
        Self {
            wall,
            offset: AtomicI64::new(0),
            seen: Mutex::default(),
            warned: AtomicBool::new(false),
        }
    }

    /// Milliseconds since 1970.
    pub(super) fn now(&self) -> u64 {
        let now = self.machine() + self.offset.load(Ordering::Relaxed);
        u64::try_from(now).unwrap_or(0)
    }

    /// By how much the machine's clock is being corrected, in milliseconds.
    pub(super) fn offset(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }

    fn machine(&self) -> i64 {
        i64::try_from((self.wall)().as_millis()).unwrap_or(i64::MAX / 2)
    }

    /// Records a response with the time `date`, in seconds since 1970, to a request sent at `sent`.
    fn observe(&self, sent: i64, received: i64, date: i64) {
        let date = date.saturating_mul(1_000);
        let behind = Behind {
            least: date - received,
            most: date + COARSE - sent,
        };
        if !behind.is_possible() {
            return;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let correction = seen.add(received, behind).correction();
        drop(seen);
        self.offset.store(correction, Ordering::Relaxed);
    }

    /// Logs when a correction begins. Not at its discovery, because logging is off inside of a request.
    pub(super) fn warn_if_wrong(&self) {
        let offset = self.offset();
        if (offset != 0) != self.warned.load(Ordering::Relaxed)
            && self.warned.swap(offset != 0, Ordering::Relaxed) != (offset != 0)
            && offset != 0
        {
            tracing::warn!(
                milliseconds = offset,
                "the clock of this machine is wrong by DynamoDB's; expiries are corrected by it, but set the clock right (NTP)"
            );
        }
    }
}

impl fmt::Debug for TableClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableClock")
            .field("offset", &self.offset)
            .finish()
    }
}

/// Reads the `Date` of every answer.
#[derive(Debug)]
pub(super) struct DateReader(pub(super) Arc<TableClock>);

/// When a request left, in milliseconds since 1970 by the machine's clock.
#[derive(Debug)]
struct SentAt(i64);

impl Storable for SentAt {
    type Storer = StoreReplace<Self>;
}

impl Intercept for DateReader {
    fn name(&self) -> &'static str {
        "DateReader"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        bag.interceptor_state().store_put(SentAt(self.0.machine()));
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let received = self.0.machine();
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        if let (Some(SentAt(sent)), Some(date)) = (bag.load::<SentAt>(), date) {
            self.0.observe(*sent, received, date.secs());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    /// A machine's clock that is `off` milliseconds ahead of the true time, which the test moves.
    fn clock(off: i64) -> (Arc<AtomicU64>, TableClock) {
        let time = Arc::new(AtomicU64::new(1_700_000_000_000));
        let true_time = Arc::clone(&time);
        let wall = move || {
            let machine = i64::try_from(true_time.load(Ordering::Relaxed)).unwrap() + off;
            Duration::from_millis(u64::try_from(machine).unwrap())
        };
        (time, TableClock::new(Arc::new(wall)))
    }

    /// Calls that take `took` milliseconds, one every 137.
    fn talk(time: &AtomicU64, clock: &TableClock, calls: u32, took: u64) {
        for _ in 0..calls {
            let sent = clock.machine();
            let at_server = time.fetch_add(took, Ordering::Relaxed) + took / 2;
            let date = i64::try_from(at_server / 1_000).unwrap();
            clock.observe(sent, clock.machine(), date);
            time.fetch_add(137, Ordering::Relaxed);
        }
    }

    fn error(time: &AtomicU64, clock: &TableClock) -> u64 {
        clock.now().abs_diff(time.load(Ordering::Relaxed))
    }

    #[test]
    fn correct_clock_is_unchanged() {
        for off in [-40, 0, 40] {
            let (time, clock) = clock(off);
            talk(&time, &clock, 1_000, 90);
            assert_eq!(clock.offset(), 0, "{off}");
        }
    }

    #[test]
    fn wrong_clock_is_corrected_to_two_seconds() {
        for off in [-86_400_000, -30_000, 30_000, 86_400_000] {
            let (time, clock) = clock(off);
            assert!(error(&time, &clock) > 2_000);
            talk(&time, &clock, 1, 10);
            assert!(error(&time, &clock) <= 2_010, "{off}: {}", error(&time, &clock));
            talk(&time, &clock, 200, 10);
            assert!(error(&time, &clock) <= 1_100, "{off}: {}", error(&time, &clock));
        }
    }

    #[test]
    fn repaired_clock_is_no_longer_corrected() {
        let (time, clock) = clock(30_000);
        talk(&time, &clock, 50, 10);
        assert!(clock.offset() < 0);
        // The machine's clock goes back by what it was ahead: here the true time goes on for as long.
        let date = i64::try_from(time.load(Ordering::Relaxed) / 1_000).unwrap() + 30;
        for _ in 0..3 {
            let now = clock.machine();
            clock.observe(now, now, date);
        }
        assert_eq!(clock.offset(), 0);
    }
}
