//! What a limiter answers.

use std::time::Duration;

use super::quota::{Frame, Quota, Used};

/// Whether a call may go on, and what is left for the next.
///
/// Times are counted from now, and are exact to the round trip that the answer took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// Whether the call may go on. A call that may not has used nothing up.
    pub allowed: bool,
    /// The limit of the quota.
    pub limit: u64,
    /// How much more is allowed at the moment.
    pub remaining: u64,
    /// In what time all of the limit can be used again, if nothing more is used until then. Of a fixed
    /// window, its end.
    pub reset_after: Duration,
    /// Where the call may not go on: in what time it may, if nobody else uses anything up until then.
    pub retry_after: Option<Duration>,
    /// Whether this was counted. It was not where the cache failed and
    /// [`OnError`](super::OnError) decided.
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

    /// Where the cache cannot say what was used.
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
