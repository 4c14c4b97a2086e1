//! Quotas (how much is allowed in which time) and the arithmetic of windows. No I/O, no clock.

use std::time::Duration;

use cache_core::CacheError;

use crate::refuse::refuse;

/// How much is allowed in which time.
///
/// ```
/// use std::time::Duration;
/// use cache_layers::rate_limiter::Quota;
///
/// let free = Quota::sliding(100, Duration::from_secs(60));
/// let batch = Quota::fixed(10_000, Duration::from_secs(24 * 60 * 60)); // a day, from midnight UTC
/// # let _ = (free, batch);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    limit: u64,
    window: Duration,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Fixed,
    Sliding,
}

impl Quota {
    /// The greatest limit: the largest integer of a structured field (RFC 9651), so that a response header can hold
    /// it.
    pub const MAX_LIMIT: u64 = 999_999_999_999_999;
    /// The shortest window. A window as short as a round trip makes no sense.
    pub const MIN_WINDOW: Duration = Duration::from_millis(10);
    /// The longest window: 366 days.
    pub const MAX_WINDOW: Duration = Duration::from_secs(366 * 24 * 60 * 60);

    /// Allows at most `limit` in each window. Windows follow one another, and the first began at 1970-01-01 00:00
    /// UTC.
    ///
    /// Cheap and simple, but twice the limit may be used at once around the edge of a window. A limit is 1 to
    /// [`MAX_LIMIT`](Self::MAX_LIMIT). A window is [`MIN_WINDOW`](Self::MIN_WINDOW) to
    /// [`MAX_WINDOW`](Self::MAX_WINDOW), in whole milliseconds. Other values are refused when the quota is used.
    #[must_use]
    pub const fn fixed(limit: u64, window: Duration) -> Self {
        Self {
            limit,
            window,
            kind: Kind::Fixed,
        }
    }

    /// Allows at most about `limit` in any period as long as the window. The use of the last whole window counts in
    /// proportion to how much of that window is still within the period. Accepts the same values as
    /// [`fixed`](Self::fixed).
    ///
    /// See [the bounds](super#sliding-windows) of the approximation.
    #[must_use]
    pub const fn sliding(limit: u64, window: Duration) -> Self {
        Self {
            limit,
            window,
            kind: Kind::Sliding,
        }
    }

    /// How much is allowed in a window.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// The length of a window.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.window
    }

    pub(crate) fn check(&self, cost: u64) -> Result<(), CacheError> {
        if !(1..=Self::MAX_LIMIT).contains(&self.limit) {
            return refuse("limit", "takes 1 to 999999999999999");
        }
        if !(Self::MIN_WINDOW..=Self::MAX_WINDOW).contains(&self.window)
            || !self.window.as_nanos().is_multiple_of(1_000_000)
        {
            return refuse("window", "takes whole milliseconds from 10 ms to 366 days");
        }
        if cost == 0 || cost > self.limit {
            return refuse("cost", "takes 1 to the limit; more is never allowed");
        }
        Ok(())
    }

    /// The window that is open at `now`.
    pub(super) fn frame(&self, now: Duration) -> Frame {
        let (now, window) = (micros(now), micros(self.window).max(1));
        Frame {
            index: now / window,
            left: window - now % window,
            window,
            sliding: self.kind == Kind::Sliding,
            limit: self.limit,
        }
    }
}

/// A window at one moment, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// Its number, counted from 1970.
    pub(super) index: u64,
    /// How much time is left of it. Never 0.
    left: u64,
    window: u64,
    pub(super) sliding: bool,
    limit: u64,
}

/// What is used: in the window before, and in the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) before: u64,
    pub(super) now: u64,
}

impl Frame {
    /// How much of the use counts now. Rounded up, so that rounding never allows more.
    fn counted(&self, used: Used) -> u64 {
        self.counted_before(used).saturating_add(used.now)
    }

    fn counted_before(&self, used: Used) -> u64 {
        // A window never allowed more than the limit. Anything beyond it was denied, and not given back because the
        // caller died.
        let before = used.before.min(self.limit);
        scaled(before, self.left, self.window, u128::div_ceil)
    }

    /// Whether `used`, the caller's cost included, is within the limit.
    pub(super) fn allows(&self, used: Used) -> bool {
        self.counted(used) <= self.limit
    }

    pub(super) fn remaining(&self, used: Used) -> u64 {
        self.limit.saturating_sub(self.counted(used))
    }

    /// How long until the whole limit can be used again, if nothing more is used until then.
    pub(super) fn reset_after(&self, used: Used) -> Duration {
        Duration::from_micros(match used {
            _ if !self.sliding => self.left,
            Used { now: 1.., .. } => self.left + self.window,
            Used { before: 1.., .. } => self.left,
            _ => 0,
        })
    }

    /// How long until `cost` more is allowed, if nothing more is used until then. `cost` is at most the limit.
    pub(super) fn retry_after(&self, used: Used, cost: u64) -> Duration {
        let room = self.limit - cost.min(self.limit);
        Duration::from_micros(if !self.sliding {
            self.left
        } else if used.now <= room {
            // Within this window: when the counted part of the window before has become small enough.
            let before = used.before.min(self.limit).max(1);
            let fitting = scaled(self.window, room - used.now, before, |a, b| a / b);
            self.left.saturating_sub(fitting)
        } else {
            // In the next window: when the counted part of this one has become small enough.
            let now = used.now.min(self.limit);
            let fitting = scaled(self.window, room, now.max(1), |a, b| a / b);
            self.left + self.window.saturating_sub(fitting)
        })
    }
}

/// `value * by / of`, without overflow.
fn scaled(value: u64, by: u64, of: u64, divide: impl FnOnce(u128, u128) -> u128) -> u64 {
    u64::try_from(divide(u128::from(value) * u128::from(by), u128::from(of))).unwrap_or(u64::MAX)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let refused = |quota: Quota, cost| quota.check(cost).unwrap_err().to_string();
        assert!(Quota::fixed(1, MINUTE).check(1).is_ok());
        assert!(Quota::fixed(Quota::MAX_LIMIT, MINUTE).check(1).is_ok());
        assert_eq!(
            refused(Quota::fixed(0, MINUTE), 1),
            "invalid limit: takes 1 to 999999999999999"
        );
        assert_eq!(
            refused(Quota::fixed(Quota::MAX_LIMIT + 1, MINUTE), 1),
            "invalid limit: takes 1 to 999999999999999"
        );
        for window in [Duration::ZERO, Duration::MAX, Duration::from_micros(20_001)] {
            assert_eq!(
                refused(Quota::sliding(1, window), 1),
                "invalid window: takes whole milliseconds from 10 ms to 366 days"
            );
        }
        for cost in [0, 11] {
            assert_eq!(
                refused(Quota::sliding(10, MINUTE), cost),
                "invalid cost: takes 1 to the limit; more is never allowed"
            );
        }
    }

    #[test]
    fn an_edge_belongs_to_the_window_that_begins() {
        let quota = Quota::fixed(1, MINUTE);
        assert_eq!(quota.frame(MINUTE - Duration::from_micros(1)).index, 0);
        assert_eq!(quota.frame(MINUTE).index, 1);
        assert_eq!(quota.frame(MINUTE).left, 60_000_000);
    }

    #[test]
    fn the_window_before_counts_by_the_part_that_is_left_of_this_one_rounded_up() {
        let quota = Quota::sliding(100, MINUTE);
        let counted = |seconds: u64, before, now| {
            let frame = quota.frame(Duration::from_secs(600 + seconds));
            frame.counted(Used { before, now })
        };
        assert_eq!(counted(0, 100, 0), 100);
        assert_eq!(counted(15, 100, 0), 75);
        assert_eq!(counted(15, 99, 7), 75 + 7); // 74.25
        assert_eq!(counted(59, 100, 0), 2); // 1.67
        // No call was allowed more than the limit.
        assert_eq!(counted(30, 10_000, 0), 50);
    }

    #[test]
    fn a_fixed_window_knows_nothing_of_the_one_before() {
        let frame = Quota::fixed(100, MINUTE).frame(Duration::from_secs(600));
        let used = Used { before: 100, now: 40 };
        // The limiter does not even read it.
        assert_eq!(frame.remaining(Used { before: 0, ..used }), 60);
        assert_eq!(frame.reset_after(used), MINUTE);
        assert_eq!(frame.retry_after(used, 1), MINUTE);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2_000))]

        /// Exact to the microsecond: allowed then, and not before.
        #[test]
        fn retry_after_is_the_first_moment_at_which_it_is_allowed(
            limit in 1_u64..2_000,
            millis in 10_u64..100_000,
            elapsed in 0.0_f64..1.0,
            before in 0.0_f64..1.1,
            now in 0.0_f64..1.0,
            cost in 0.0_f64..1.0,
        ) {
            let part = |part: f64| Duration::from_secs(limit).mul_f64(part).as_secs();
            let quota = Quota::sliding(limit, Duration::from_millis(millis));
            let (used, cost) = (Used { before: part(before), now: part(now) }, part(cost).max(1));
            let start = quota.window * 7 + quota.window.mul_f64(elapsed);
            let frame = quota.frame(start);
            let asking = |used: Used| Used { now: used.now + cost, ..used };
            proptest::prop_assume!(!frame.allows(asking(used)));
            let allowed_at = |moment: Duration| {
                let then = quota.frame(moment);
                match then.index - frame.index {
                    0 => then.allows(asking(used)),
                    1 => then.allows(asking(Used { before: used.now, now: 0 })),
                    _ => true,
                }
            };
            let retry = frame.retry_after(used, cost);
            let begin = Duration::from_micros(micros(start));
            proptest::prop_assert!(allowed_at(begin + retry));
            proptest::prop_assert!(!allowed_at(begin + retry - Duration::from_micros(1)));
            proptest::prop_assert!(retry <= frame.reset_after(used));
        }
    }
}
