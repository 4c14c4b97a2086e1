//! The slot of one call: its state, replies and outcome.

use std::task::Waker;

use cache_core::clock::Instant;

use crate::deadline::Deadline;
use crate::reply::Reply;
use crate::wire::own::outgoing::Outgoing;

/// A request before it is encoded.
#[derive(Clone, Copy, Debug)]
pub(in crate::wire::own) struct Request {
    /// How many replies it gets, at least one.
    pub(in crate::wire::own) replies: u32,
    /// How many bytes it takes at most.
    pub(in crate::wire::own) size: usize,
    /// How many of these are big values.
    pub(in crate::wire::own) big: usize,
    /// Whether a push is its reply.
    pub(in crate::wire::own) subscribes: bool,
    pub(in crate::wire::own) deadline: Deadline,
}

/// The outcome of a call.
#[derive(Debug, PartialEq)]
pub(in crate::wire::own) enum Outcome {
    /// The reply to its one command.
    One(Reply),
    /// A reply to each of its commands.
    Many(Vec<Reply>),
    /// Its deadline passed. These are the replies to its first commands.
    TimedOut { replies: Vec<Reply> },
    /// The connection ended. If not `written`, no byte of the request was or is being written. `replies` are
    /// the replies to its first commands.
    Ended { written: bool, replies: Vec<Reply> },
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) state: State,
    pub(super) waker: Option<Waker>,
    pub(super) deadline: Instant,
    pub(super) is_late: bool,
    pub(super) subscribes: bool,
    /// How many replies are still missing.
    pub(super) missing: u32,
    pub(super) replies: Vec<Reply>,
    /// Where the request begins in the encoded stream.
    pub(super) start: u64,
    /// The bytes of its big values.
    pub(super) big: usize,
}

#[derive(Debug)]
pub(super) enum State {
    Free,
    /// Queued with its encoded request, until there is room.
    InLine(Box<Outgoing>),
    /// Cancelled while queued.
    LeftLine,
    /// Its request is in the buffer or written.
    Sent,
    /// As `Sent`, but cancelled.
    Abandoned,
    /// Has an outcome that the caller has not taken yet.
    Done(Outcome),
}
