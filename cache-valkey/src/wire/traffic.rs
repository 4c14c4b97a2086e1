//! Counts a connection's traffic: how many calls wait, and whether bytes move.
//!
//! Not in here: decisions based on it, see the node that has the connection.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// The traffic counters of a connection, for its callers and its node.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    state: Load,
    counts: Counts,
}

/// What every call reads before it chooses a connection. It changes rarely.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Load {
    /// The bytes of big values that are not written yet.
    leaving: AtomicUsize,
    /// The bytes of a big value that have not arrived yet.
    arriving: AtomicUsize,
    /// Calls with big values that wait for a reply.
    big_calls: AtomicU32,
    /// Whether so many calls wait that another connection pays off.
    is_crowded: AtomicBool,
    /// Whether the peer has closed its side.
    #[cfg(feature = "redis-wire")]
    ended: AtomicBool,
}

/// What changes with every call, on separate cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counts {
    /// Calls that wait for a reply.
    in_flight: AtomicU32,
    /// Grows with every read that returned bytes.
    reads: AtomicU64,
    /// Grows whenever a stream that was full accepts bytes again.
    writes: AtomicU64,
    /// Bytes that are encoded and not written.
    unwritten: AtomicU64,
    /// Grows with every call that got a reply.
    answers: AtomicU64,
    /// Whether a call was cancelled and nothing has arrived since.
    abandoned: AtomicBool,
}

/// From this number of calls in flight, another connection pays off. Sharing is usually better, because
/// requests sent together cost fewer system calls; a second connection helps only if one task is always busy.
const CROWDED: u32 = 2048;

/// The same for the wire over the `redis` crate.
#[cfg(feature = "redis-wire")]
const CROWDED_REDIS: u32 = 192;

impl Traffic {
    pub(crate) fn in_flight(&self) -> u32 {
        self.counts.in_flight.load(Ordering::Relaxed)
    }

    /// The bytes that are encoded and not written to the socket.
    pub(crate) fn unwritten(&self) -> u64 {
        self.counts.unwritten.load(Ordering::Relaxed)
    }

    pub(super) fn set_unwritten(&self, bytes: u64) {
        self.counts.unwritten.store(bytes, Ordering::Relaxed);
    }

    /// A number that stays the same only while nothing arrives from the server.
    pub(crate) fn reads(&self) -> u64 {
        self.counts.reads.load(Ordering::Relaxed)
    }

    /// A number that stays the same only while nothing is read and a full stream accepts nothing: a long
    /// upload is not silence.
    pub(crate) fn moves(&self) -> u64 {
        self.reads() + self.counts.writes.load(Ordering::Relaxed)
    }

    /// A number that stays the same only while no call gets a reply.
    pub(crate) fn answers(&self) -> u64 {
        self.counts.answers.load(Ordering::Relaxed)
    }

    /// Whether a call was cancelled and nothing has arrived from the server since.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.counts.abandoned.load(Ordering::Relaxed)
    }

    /// Whether the peer has closed its side.
    #[cfg(feature = "redis-wire")]
    pub(crate) fn has_ended(&self) -> bool {
        self.state.ended.load(Ordering::Relaxed)
    }

    /// Whether so many calls wait that another connection pays off.
    pub(crate) fn is_crowded(&self) -> bool {
        self.state.is_crowded.load(Ordering::Relaxed)
    }

    fn note_crowd(&self, calls: u32, crowded: u32) {
        let is_crowded = calls >= crowded;
        if self.is_crowded() != is_crowded {
            self.state.is_crowded.store(is_crowded, Ordering::Relaxed);
        }
    }

    /// The bytes of big values that are in transit. A new call would wait behind them.
    pub(crate) fn big(&self) -> usize {
        self.state.leaving.load(Ordering::Relaxed) + self.state.arriving.load(Ordering::Relaxed)
    }

    /// Whether a call with a big value waits for a reply: written bytes may still be in transit.
    pub(crate) fn has_big_calls(&self) -> bool {
        self.state.big_calls.load(Ordering::Relaxed) > 0
    }

    pub(super) fn set_big_calls(&self, calls: u32) {
        if self.state.big_calls.load(Ordering::Relaxed) != calls {
            self.state.big_calls.store(calls, Ordering::Relaxed);
        }
    }

    pub(super) fn set_in_flight(&self, calls: u32) {
        self.counts.in_flight.store(calls, Ordering::Relaxed);
        self.note_crowd(calls, CROWDED);
    }

    pub(super) fn set_leaving(&self, bytes: usize) {
        if self.state.leaving.load(Ordering::Relaxed) != bytes {
            self.state.leaving.store(bytes, Ordering::Relaxed);
        }
    }

    pub(super) fn set_arriving(&self, bytes: usize) {
        if self.state.arriving.load(Ordering::Relaxed) != bytes {
            self.state.arriving.store(bytes, Ordering::Relaxed);
        }
    }

    /// Records that bytes were read.
    pub(super) fn heard(&self) {
        self.counts.reads.fetch_add(1, Ordering::Relaxed);
        if self.is_abandoned() {
            self.counts.abandoned.store(false, Ordering::Relaxed);
        }
    }

    /// Records that a full stream accepts bytes again, because the peer reads.
    pub(super) fn wrote(&self) {
        self.counts.writes.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that this many calls got a reply.
    pub(super) fn answered(&self, calls: u64) {
        self.counts.answers.fetch_add(calls, Ordering::Relaxed);
    }

    /// Records a cancelled call.
    pub(super) fn abandon(&self) {
        self.counts.abandoned.store(true, Ordering::Relaxed);
    }

    /// Records that the peer has closed its side.
    #[cfg(feature = "redis-wire")]
    pub(super) fn end(&self) {
        self.state.ended.store(true, Ordering::Relaxed);
    }

    /// Counts a call as in flight until the guard is dropped.
    #[cfg(feature = "redis-wire")]
    pub(super) fn enter(&self) -> InFlight<'_> {
        let before = self.counts.in_flight.fetch_add(1, Ordering::Relaxed);
        self.note_crowd(before + 1, CROWDED_REDIS);
        InFlight {
            traffic: self,
            answered: false,
        }
    }
}

/// One call in flight.
#[cfg(feature = "redis-wire")]
pub(super) struct InFlight<'a> {
    traffic: &'a Traffic,
    answered: bool,
}

#[cfg(feature = "redis-wire")]
impl InFlight<'_> {
    /// Records that the call got its reply.
    pub(super) fn answered(mut self) {
        self.traffic.counts.answers.fetch_add(1, Ordering::Relaxed);
        self.answered = true;
    }
}

#[cfg(feature = "redis-wire")]
impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.traffic.abandon();
        }
        let before = self.traffic.counts.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.traffic.note_crowd(before - 1, CROWDED_REDIS);
    }
}
