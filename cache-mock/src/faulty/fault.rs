//! What can go wrong with a call, and with which. When it does is in `faults` and `random`.

use std::time::Duration;

use cache_core::{CacheError, Outcome, Unavailability};

/// What goes wrong with one call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The call is not carried out and fails with this. [`CacheError::Miss`] makes a value look evicted.
    Error(CacheError),
    /// The call is carried out, this much later. `tokio`'s time: virtual where that is paused.
    Delay(Duration),
    /// The request is lost: it is not carried out, and the call times out after this long, waiting for
    /// the reply.
    LostRequest(Duration),
    /// The reply is lost: the call is carried out, and times out all the same after this long. To the
    /// caller it looks like a lost request.
    LostReply(Duration),
    /// The call is not carried out and never ends, until it is dropped or the client is closed.
    Hang,
    /// Of a call with many keys that writes, the first `done` are carried out; then it fails with `error`.
    /// A call that reads fails, one with a single key is carried out where `done` is not 0. Of `get_each`,
    /// `get_entries` and `set_each` the first `done` keys have their results, and the others this error.
    Partial {
        /// How many keys are done.
        done: usize,
        /// What the call fails with.
        error: CacheError,
    },
}

impl Fault {
    /// The connection is lost before the request is sent: nothing is carried out, and it may be tried
    /// again.
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
        /// A method of the contract that can go wrong.
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

            /// Whether it changes what is stored.
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
