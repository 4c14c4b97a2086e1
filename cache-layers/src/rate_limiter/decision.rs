//! The answer of a limiter.

use std::time::Duration;

use super::quota::{Frame, Quota, Used};

/// Whether a call may go on, and what is left for the next one.
///
/// Times are counted from now, and are exact to the round trip that the answer took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// Whether the call may go on. A denied call has used nothing up.
    pub allowed: bool,
    /// The limit of the quota.
    pub limit: u64,
    /// How much more is allowed at the moment.
    pub remaining: u64,
    /// How long until the whole limit can be used again, if nothing more is used until then. For a fixed window, the
    /// time to its end.
    pub reset_after: Duration,
    /// For a denied call: how long until it may go on, if nothing else is used up until then.
    pub retry_after: Option<Duration>,
    /// Whether this call was counted. It was not if the cache failed and [`OnError`](super::OnError) decided.
    pub counted: bool,
}

impl Decision {
    pub(super) fn allowed(frame: &Frame, quota: &Quota, used: Used) -> Self {
        Self {
            allowed: true,
            limit: quota.limit(),
            remaining: frame.remaining(used),
            reset_after: frame.reset_after(used),
            retry_after: None,
            counted: true,
        }
    }

    pub(super) fn denied(frame: &Frame, quota: &Quota, used: Used, cost: u64) -> Self {
        Self {
            allowed: false,
            retry_after: Some(frame.retry_after(used, cost)),
            ..Self::allowed(frame, quota, used)
        }
    }

    /// The decision if the cache cannot say what was used.
    pub(super) fn uncounted(quota: &Quota, allowed: bool) -> Self {
        const SOON: Duration = Duration::from_secs(1);
        Self {
            allowed,
            limit: quota.limit(),
            remaining: if allowed { quota.limit() } else { 0 },
            reset_after: SOON,
            retry_after: (!allowed).then_some(SOON),
            counted: false,
        }
    }
}
