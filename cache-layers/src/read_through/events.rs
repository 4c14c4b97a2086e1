//! What a read-through reports: events for a listener, and counters.
//!
//! Not in here: metrics. They are made by a listener.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache_core::CacheError;

/// An event of a read-through. No event names a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ReadThroughEvent {
    /// A fresh entry answered a call.
    Hit {
        /// Whether the entry says that there is no value.
        negative: bool,
    },
    /// An expired entry answered a call.
    Stale,
    /// A call that no entry could answer ended, with a loaded value or with an error. Every call ends as
    /// [`Hit`](Self::Hit), [`Stale`](Self::Stale) or `Missed`, except for calls that their callers dropped.
    Missed,
    /// A call found nothing fresh and joined a load in progress in this process.
    Joined,
    /// A loader was started for one key.
    LoadStarted {
        /// Whether it is a refresh ahead of expiry.
        refresh: bool,
    },
    /// A load of one key ended.
    LoadEnded {
        /// Whether it was a refresh ahead of expiry.
        refresh: bool,
        /// How it ended.
        outcome: LoadOutcome,
        /// How long the loader took.
        took: Duration,
    },
    /// A load waited for the load of another process.
    LeaseWait {
        /// How long it waited.
        took: Duration,
    },
    /// A load went on without the lease because the cache could not say who has it.
    WithoutLease,
    /// A load was not tried because one failed recently.
    HeldBack,
    /// A loaded value was not stored: the entry was set or deleted during the load, or another process got the lease.
    Superseded,
    /// A loaded value was not stored because it exceeds the limit.
    Oversize {
        /// Its size in bytes.
        bytes: usize,
    },
    /// A loaded value was not stored because its [`Codec`](super::Codec) cannot encode it.
    Unencodable {
        /// The error of the codec.
        error: CacheError,
    },
    /// A stored value was treated as a miss because its [`Codec`](super::Codec) cannot decode it.
    Undecodable {
        /// The error of the codec.
        error: CacheError,
    },
    /// An operation of the cache failed, and the call went on without it.
    CacheFailed {
        /// The error of the cache.
        error: CacheError,
    },
}

/// How a load ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LoadOutcome {
    /// With a value.
    Value,
    /// With the answer that there is no value.
    Absent,
    /// With an error.
    Failed,
    /// With a panic.
    Panicked,
    /// Not within the hard timeout.
    TimedOut,
    /// All its waiters left, and the policy is to give up then.
    GivenUp,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// Counters of events since the read-through was created.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct ReadThroughStats {
            $($(#[$doc])* pub $name: u64,)+
        }

        /// The counters behind [`ReadThroughStats`].
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $($name: AtomicU64,)+
        }

        impl Counters {
            pub(super) fn snapshot(&self) -> ReadThroughStats {
                ReadThroughStats {
                    $($name: self.$name.load(Ordering::Relaxed),)+
                }
            }
        }
    };
}

counters! {
    /// Calls that a fresh entry answered, negative ones included. In a batch each key counts.
    hits,
    /// The part of [`hits`](Self::hits) that said that there is no value.
    negative_hits,
    /// Calls that an expired entry answered.
    stale,
    /// Calls that no entry could answer.
    missed,
    /// Calls that joined a load in progress in this process.
    joined,
    /// Keys for which a loader was started, refreshes not counted.
    loads,
    /// Keys for which a loader was started ahead of expiry.
    refreshes,
    /// Loads and refreshes that ended without an answer.
    load_failures,
    /// Loads that waited for another process.
    lease_waits,
    /// Loads that went on without the lease.
    without_lease,
    /// Loads that were not tried because one failed recently.
    held_back,
    /// Values that were not stored because the entry changed during the load, or the lease was lost.
    superseded,
    /// Values that were not stored because they are too large.
    oversize,
    /// Values that were not stored because their codec cannot encode them.
    unencodable,
    /// Stored values that were treated as a miss because their codec cannot decode them.
    undecodable,
    /// Operations of the cache that failed.
    cache_failures,
}

impl Counters {
    pub(super) fn count(&self, event: &ReadThroughEvent) {
        let counter = match event {
            ReadThroughEvent::Hit { negative } => {
                if *negative {
                    self.negative_hits.fetch_add(1, Ordering::Relaxed);
                }
                &self.hits
            }
            ReadThroughEvent::Stale => &self.stale,
            ReadThroughEvent::Missed => &self.missed,
            ReadThroughEvent::Joined => &self.joined,
            ReadThroughEvent::LoadStarted { refresh: false } => &self.loads,
            ReadThroughEvent::LoadStarted { refresh: true } => &self.refreshes,
            ReadThroughEvent::LoadEnded { outcome, .. } => match outcome {
                LoadOutcome::Value | LoadOutcome::Absent => return,
                _ => &self.load_failures,
            },
            ReadThroughEvent::LeaseWait { .. } => &self.lease_waits,
            ReadThroughEvent::WithoutLease => &self.without_lease,
            ReadThroughEvent::HeldBack => &self.held_back,
            ReadThroughEvent::Superseded => &self.superseded,
            ReadThroughEvent::Oversize { .. } => &self.oversize,
            ReadThroughEvent::Unencodable { .. } => &self.unencodable,
            ReadThroughEvent::Undecodable { .. } => &self.undecodable,
            ReadThroughEvent::CacheFailed { .. } => &self.cache_failures,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
