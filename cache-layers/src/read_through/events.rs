//! What a read-through tells about itself: events for who listens, counters for who asks.
//!
//! Not in here: metrics. Whoever makes them listens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache_core::CacheError;

/// Something that a read-through did. No event names a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ReadThroughEvent {
    /// A call was answered by a fresh entry.
    Hit {
        /// Whether the entry says that there is no value.
        negative: bool,
    },
    /// A call was answered by an entry beyond its life.
    Stale,
    /// A call that no entry could answer came to its end: with what was loaded for it, or with an error. Calls that end as
    /// [`Hit`](Self::Hit), [`Stale`](Self::Stale) or `Missed` are all calls, but for those that their callers dropped.
    Missed,
    /// A call found nothing fresh and waited for a load that was under way in this process.
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
    /// A load waited for the one of another process.
    LeaseWait {
        /// How long.
        took: Duration,
    },
    /// A load went on without the lease, since the cache could not say whose it is.
    WithoutLease,
    /// A load was not tried, since one failed a moment ago.
    HeldBack,
    /// A loaded value was not stored: the entry was set or deleted meanwhile, or the lease went to
    /// somebody else.
    Superseded,
    /// A loaded value was not stored: it is larger than the limit.
    Oversize {
        /// Its size in bytes.
        bytes: usize,
    },
    /// A loaded value was not stored: its [`Codec`](super::Codec) has no form for it.
    Unencodable {
        /// What the codec answered.
        error: CacheError,
    },
    /// A stored value was taken for a miss: its [`Codec`](super::Codec) cannot decode it.
    Undecodable {
        /// What the codec answered.
        error: CacheError,
    },
    /// The cache failed an operation; the call went on without.
    CacheFailed {
        /// What the cache answered.
        error: CacheError,
    },
}

/// How a load ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LoadOutcome {
    /// With a value.
    Value,
    /// With the answer that there is none.
    Absent,
    /// With an error.
    Failed,
    /// With a panic.
    Panicked,
    /// Not within the hard timeout.
    TimedOut,
    /// All who waited for it left, and the policy is to give up then.
    GivenUp,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// How often what happened, since the read-through was made.
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
    /// Calls (keys, of a batch) that a fresh entry answered, negative ones included.
    hits,
    /// Those of [`hits`](Self::hits) that said that there is no value.
    negative_hits,
    /// Calls that an entry beyond its life answered.
    stale,
    /// Calls that no entry could answer.
    missed,
    /// Calls that waited for a load that was already under way in this process.
    joined,
    /// Keys for which a loader was started, refreshes not counted.
    loads,
    /// Keys for which a loader was started ahead of expiry.
    refreshes,
    /// Loads and refreshes that ended with anything but an answer.
    load_failures,
    /// Loads that waited for another process.
    lease_waits,
    /// Loads that went on without the lease.
    without_lease,
    /// Loads that were not tried, since one failed a moment ago.
    held_back,
    /// Values that were not stored since the entry was changed meanwhile, or the lease was lost.
    superseded,
    /// Values that were not stored since they are too large.
    oversize,
    /// Values that were not stored since their codec has no form for them.
    unencodable,
    /// Stored values that were taken for a miss since their codec cannot decode them.
    undecodable,
    /// Operations that the cache failed.
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
