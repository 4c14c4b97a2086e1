//! The one place that asks what time it is, so that tests can hold it still.
//!
//! Inside a tokio runtime with paused time this is the virtual clock; everywhere else it is the
//! monotonic clock of the machine. There is no wall clock in here: no promise of this crate hangs on one.

/// The instant type of [`now`].
pub use tokio::time::Instant;

/// The present instant of the monotonic (in tests: virtual) clock.
#[must_use]
#[inline]
pub fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that the ban points at"
    )]
    Instant::now()
}
