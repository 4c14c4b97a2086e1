//! What is known of a connection's traffic: how many calls wait, and whether anything moves.
//!
//! Not in here: what follows from it. That is the business of the node that has the connection.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// What the callers of a connection, and those who watch it, know of its traffic.
///
/// Callers and the connection's task write to it all the time, so it has cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Traffic {
    /// Calls that wait for their reply.
    in_flight: AtomicU32,
    /// Grows with every read that brought bytes.
    reads: AtomicU64,
    /// Grows with every write that took bytes.
    writes: AtomicU64,
    /// Grows with every call that got its reply.
    answers: AtomicU64,
    /// Whether a caller went away without its reply and nothing was heard since.
    abandoned: AtomicBool,
    /// Whether the peer has closed its side.
    #[cfg(feature = "redis-wire")]
    ended: AtomicBool,
    /// Calls with big values that wait for their reply.
    big_calls: AtomicU32,
    /// The bytes of big values that are not written yet.
    leaving: AtomicUsize,
    /// The bytes of a big value that have not arrived yet.
    arriving: AtomicUsize,
}

impl Traffic {
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// A number that stays the same only while nothing is heard from the server.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// A number that stays the same only while nothing is read and nothing is written: a long upload is no silence.
    pub(crate) fn moves(&self) -> u64 {
        self.reads() + self.writes.load(Ordering::Relaxed)
    }

    /// A number that stays the same only while no call gets its reply.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Whether a caller went away without its reply and nothing was heard from the server since.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Whether the peer has closed its side.
    #[cfg(feature = "redis-wire")]
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// The bytes of big values that are on their way. What is asked for now has to wait for them.
    pub(crate) fn big(&self) -> usize {
        self.leaving.load(Ordering::Relaxed) + self.arriving.load(Ordering::Relaxed)
    }

    /// Whether a call with a big value waits for its reply: what was written may still be on its way.
    pub(crate) fn has_big_calls(&self) -> bool {
        self.big_calls.load(Ordering::Relaxed) > 0
    }

    pub(super) fn set_big_calls(&self, calls: u32) {
        if self.big_calls.load(Ordering::Relaxed) != calls {
            self.big_calls.store(calls, Ordering::Relaxed);
        }
    }

    pub(super) fn set_in_flight(&self, calls: u32) {
        self.in_flight.store(calls, Ordering::Relaxed);
    }

    pub(super) fn set_leaving(&self, bytes: usize) {
        if self.leaving.load(Ordering::Relaxed) != bytes {
            self.leaving.store(bytes, Ordering::Relaxed);
        }
    }

    pub(super) fn set_arriving(&self, bytes: usize) {
        if self.arriving.load(Ordering::Relaxed) != bytes {
            self.arriving.store(bytes, Ordering::Relaxed);
        }
    }

    /// Bytes were read.
    pub(super) fn heard(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.is_abandoned() {
            self.abandoned.store(false, Ordering::Relaxed);
        }
    }

    /// Bytes were written.
    pub(super) fn wrote(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    /// This many calls got their reply.
    pub(super) fn answered(&self, calls: u64) {
        self.answers.fetch_add(calls, Ordering::Relaxed);
    }

    /// A caller went away without its reply.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// The peer has closed its side.
    #[cfg(feature = "redis-wire")]
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Counts a call as in flight until the guard is dropped.
    #[cfg(feature = "redis-wire")]
    pub(super) fn enter(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
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
    /// The call has its reply.
    pub(super) fn answered(mut self) {
        self.traffic.answers.fetch_add(1, Ordering::Relaxed);
        self.answered = true;
    }
}

#[cfg(feature = "redis-wire")]
impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.traffic.abandon();
        }
        self.traffic.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
