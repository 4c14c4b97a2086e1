//! The one place that reads the time, so that tests can control it.
//!
//! In a tokio runtime with paused time this is the virtual clock, otherwise the machine's monotonic clock.
//! Not in here: a wall clock. No guarantee of this crate depends on one.

/// The instant type of [`now`].
pub use tokio::time::Instant;

/// The current instant of the monotonic (in tests: virtual) clock.
#[must_use]
#[inline]
pub fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that the ban points at"
    )]
    Instant::now()
}
