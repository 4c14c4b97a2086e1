//! The faults of a call, and the operations that they apply to. Not in here: when a fault occurs, see
//! `faults` and `random`.

use std::time::Duration;

use cache_core::{CacheError, Outcome, Unavailability};

/// A fault of one call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The call is not applied and fails with this error. [`CacheError::Miss`] makes a value look evicted.
    Error(CacheError),
    /// The call is applied after this delay, in `tokio`'s time, which is virtual if paused.
    Delay(Duration),
    /// The request is lost: it is not applied, and the call times out after this long, waiting for the reply.
    LostRequest(Duration),
    /// The reply is lost: the call is applied, but times out after this long. To the caller it looks like a
    /// lost request.
    LostReply(Duration),
    /// The call is not applied and hangs until it is dropped or the client is closed.
    Hang,
    /// A write of many keys applies the first `done` of them, then fails with `error`. A read of many keys
    /// fails. A call with a single key is applied if `done` is not 0. For `get_each`, `get_entries` and
    /// `set_each`, the first `done` keys have results and the others this error.
    Partial {
        /// How many keys are applied.
        done: usize,
        /// The error of the call.
        error: CacheError,
    },
}

impl Fault {
    /// The connection is lost before the request is sent: nothing is applied, and a retry is safe.
    #[must_use]
    pub const fn connection_lost() -> Self {
        Self::Error(lost(Outcome::NotApplied))
    }

    /// The connection is lost after the first `done` keys of a write.
    #[must_use]
    pub const fn connection_lost_after(done: usize) -> Self {
        Self::Partial {
            done,
            error: lost(Outcome::Unknown),
        }
    }
}

const fn lost(outcome: Outcome) -> CacheError {
    CacheError::Unavailable {
        reason: Unavailability::Lost,
        detail: std::borrow::Cow::Borrowed("a fault that a test asked for"),
        outcome,
        source: None,
    }
}

macro_rules! operations {
    ($($variant:ident $method:ident $does:ident,)+) => {
        /// A method of the contract that can fail.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Operation {
            $(
                #[doc = concat!("[`", stringify!($method), "`](cache_core::CacheClient::", stringify!($method), ")")]
                $variant,
            )+
        }

        impl Operation {
            /// Every operation.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Whether it changes stored data.
            #[must_use]
            pub const fn writes(self) -> bool {
                match self {
                    $(Self::$variant => $does,)+
                }
            }
        }
    };
}

const READS: bool = false;
const WRITES: bool = true;

operations! {
    Get get READS,
    GetEntry get_entry READS,
    GetMany get_many READS,
    GetEach get_each READS,
    GetEntries get_entries READS,
    Set set WRITES,
    SetMany set_many WRITES,
    SetEach set_each WRITES,
    SetIfAbsent set_if_absent WRITES,
    CompareAndSet compare_and_set WRITES,
    CompareAndDelete compare_and_delete WRITES,
    GetAndDelete get_and_delete WRITES,
    GetAndExpire get_and_expire WRITES,
    Del del WRITES,
    Exists exists READS,
    Incr incr WRITES,
    IncrBy incr_by WRITES,
    Expire expire WRITES,
    Ttl ttl READS,
    Ping ping READS,
    Close close READS,
}
