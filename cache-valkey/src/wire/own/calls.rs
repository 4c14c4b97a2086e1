//! The calls of one connection: their order, their reply slots, their deadlines, and the bytes they may put in line.
//!
//! Everything here happens under one short lock, without waiting. A call encodes its request into the connection's
//! buffer and takes a slot; replies are put into the slots in the order of the requests. Slots and buffers are used
//! again, so a call allocates nothing.
//!
//! # Back-pressure
//!
//! At most [`BUDGET`] bytes are encoded and not yet written. A call that finds no room encodes its request for itself,
//! with values by reference, and gets in line. The connection's own task moves requests up, in order, as bytes are
//! written, so that no call depends on another one's caller.
//!
//! # Deadlines
//!
//! There is no timer per call. The connection's task looks at the deadlines of all calls when the next one may pass.
//!
//! Not in here: reading and writing, see `driver.rs`.

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;
use std::time::Duration;

use cache_core::clock::Instant;

use super::outgoing::Outgoing;
use crate::deadline::Deadline;
use crate::reply::Reply;
use crate::wire::Traffic;

/// The bytes that may be encoded and not yet written. One request may be larger if nothing else waits to be written.
pub(super) const BUDGET: usize = 4 * 1024 * 1024;

/// The replies that come together from which on callers leave writing to the driver.
///
/// Measured with two workers beside the server on two cores: below, calls end sooner if half of them are written early;
/// above, what counts is the number of system calls.
const MANY: usize = 128;

/// The slots that are kept while no call is under way.
const KEPT_SLOTS: usize = 2048;

/// The shortest time between two looks at the deadlines while no call is under way.
const SLOWEST_SWEEP: Duration = Duration::from_millis(100);

/// The calls of one connection.
#[derive(Debug)]
pub(super) struct Calls {
    /// Encoded requests that the driver has not taken.
    out: Outgoing,
    /// The slots of requests that were encoded into `out`, in that order.
    order: VecDeque<u32>,
    /// The slots of calls for whose requests there was no room, in the order in which they came.
    line: VecDeque<u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Bytes that were encoded into `out` so far, those of them that were taken to be written, and those that were.
    encoded: u64,
    taken: u64,
    written: u64,
    /// Requests with big values that are not written: where they end, and the bytes of these values.
    big: VecDeque<(u64, usize)>,
    /// Whether somebody has taken bytes that are not written yet.
    is_writing: bool,
    /// The requests in `out`.
    gathered: usize,
    /// The replies that came together last: so many callers are about to ask for more.
    together: usize,
    /// Calls whose callers wait for an outcome, and how many of these have big values.
    waiting: u32,
    waiting_big: u32,
    sweep: Sweep,
    has_ended: bool,
    budget: usize,
}

/// When the deadlines are looked at.
#[derive(Debug, Default)]
struct Sweep {
    at: Option<Instant>,
    /// The shortest time that a call was given since the last look.
    shortest: Option<Duration>,
}

/// What is known of one request before it is encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// The replies that it gets, at least one.
    pub(super) replies: u32,
    /// The bytes that it takes at most.
    pub(super) size: usize,
    /// How many of these are big values.
    pub(super) big: usize,
    /// Whether a push is its reply.
    pub(super) subscribes: bool,
    pub(super) deadline: Deadline,
}

/// What came of a call.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// The reply to its one command.
    One(Reply),
    /// A reply to each of its commands.
    Many(Vec<Reply>),
    /// Its deadline passed. The first of its commands have these replies.
    Late { replies: Vec<Reply> },
    /// The connection ended. Nothing of the request was, or is being, written if not `written`. The first of its
    /// commands have these replies.
    Ended { written: bool, replies: Vec<Reply> },
}

#[derive(Debug)]
struct Slot {
    state: State,
    waker: Option<Waker>,
    deadline: Instant,
    is_late: bool,
    subscribes: bool,
    /// The replies that are still to come.
    missing: u32,
    replies: Vec<Reply>,
    /// Where the request begins in the stream of encoded bytes.
    start: u64,
    /// The bytes of its big values.
    big: usize,
}

#[derive(Debug)]
enum State {
    Free,
    /// Waits for room; its request is encoded.
    InLine(Box<Outgoing>),
    /// Gave up its place in the line.
    LeftLine,
    /// Its request is encoded into the buffer, or written.
    Sent,
    /// As `Sent`, but its caller has gone.
    Abandoned,
    /// Has its outcome, which the caller has not taken.
    Done(Outcome),
}

/// A call that has begun.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) slot: u32,
    /// Whether enough requests are gathered to write them at once.
    pub(super) is_full: bool,
    /// Whether the driver has to look at the deadlines sooner than it intended.
    pub(super) is_urgent: bool,
}

impl Calls {
    pub(super) fn new(budget: usize) -> Self {
        Self {
            out: Outgoing::default(),
            order: VecDeque::new(),
            line: VecDeque::new(),
            slots: Vec::new(),
            free: Vec::new(),
            encoded: 0,
            taken: 0,
            written: 0,
            big: VecDeque::new(),
            is_writing: false,
            gathered: 0,
            together: 0,
            waiting: 0,
            waiting_big: 0,
            sweep: Sweep::default(),
            has_ended: false,
            budget,
        }
    }

    /// Begins a call: its request is encoded, or gets in line. `None` if the connection has ended.
    ///
    /// `encode` gets the buffer, and whether the request has to wait in it.
    #[inline]
    pub(super) fn begin(
        &mut self,
        request: Request,
        waker: Waker,
        encode: impl FnOnce(&mut Outgoing, bool),
    ) -> Option<Begun> {
        if self.has_ended {
            return None;
        }
        let has_room = self.line.is_empty() && self.has_room(request.size);
        let start = self.encoded;
        let state = if has_room {
            self.out.reserve(request.size - request.big);
            let before = self.out.len();
            encode(&mut self.out, false);
            self.encoded += (self.out.len() - before) as u64;
            self.note_big(request.big);
            self.gathered += 1;
            State::Sent
        } else {
            let mut own = Outgoing::default();
            encode(&mut own, true);
            State::InLine(Box::new(own))
        };
        let deadline = request.deadline.at();
        let slot = self.put(Slot {
            state,
            waker: Some(waker),
            deadline,
            is_late: false,
            subscribes: request.subscribes,
            missing: request.replies,
            replies: Vec::new(),
            start,
            big: request.big,
        })?;
        if has_room {
            self.order.push_back(slot);
        } else {
            self.line.push_back(slot);
        }
        self.waiting += 1;
        self.waiting_big += u32::from(request.big > 0);
        let given = request.deadline.given();
        self.sweep.shortest = Some(self.sweep.shortest.map_or(given, |known| known.min(given)));
        let is_urgent = self.sweep.at.is_none_or(|at| deadline < at);
        if is_urgent {
            self.sweep.at = Some(deadline);
        }
        Some(Begun {
            slot,
            is_full: has_room && !self.is_writing && self.gathered >= self.wanted(),
            is_urgent,
        })
    }

    /// How many requests are gathered before a caller writes them: half of those that are to be expected, so that the
    /// server works on one half while callers ask for the other. Of many, the driver writes all at once.
    fn wanted(&self) -> usize {
        if self.together < MANY {
            (self.together / 2).max(1)
        } else {
            usize::MAX
        }
    }

    /// Notes how many replies came together.
    pub(super) const fn came_together(&mut self, replies: usize) {
        self.together = replies;
    }

    /// Whether more requests are to be expected at once, so that it pays to let other tasks run before writing.
    pub(super) fn expects_more(&self) -> bool {
        self.order.len() > 1 || self.together > 1
    }

    fn put(&mut self, slot: Slot) -> Option<u32> {
        if let Some(free) = self.free.pop() {
            self.slots[free as usize] = slot;
            return Some(free);
        }
        let number = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(slot);
        Some(number)
    }

    /// What came of a call, once it is known; `waker` is woken then.
    #[inline]
    pub(super) fn take(&mut self, slot: u32, waker: &Waker) -> Option<Outcome> {
        let place = &mut self.slots[slot as usize];
        if let State::Done(_) = place.state {
            let state = mem::replace(&mut place.state, State::Free);
            self.free.push(slot);
            self.shrink();
            return match state {
                State::Done(outcome) => Some(outcome),
                _ => None,
            };
        }
        if place.is_late {
            let replies = mem::take(&mut place.replies);
            self.abandon(slot);
            return Some(Outcome::Late { replies });
        }
        if !place.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            place.waker = Some(waker.clone());
        }
        None
    }

    /// A caller goes away without its outcome; whether there was none yet.
    pub(super) fn abandon(&mut self, slot: u32) -> bool {
        let place = &mut self.slots[slot as usize];
        place.waker = None;
        place.state = match mem::replace(&mut place.state, State::Free) {
            State::InLine(_) => State::LeftLine,
            State::Sent => State::Abandoned,
            State::Done(_) => {
                self.free.push(slot);
                self.shrink();
                return false;
            }
            other => other,
        };
        let is_big = place.big > 0;
        self.waiting -= 1;
        self.waiting_big -= u32::from(is_big);
        true
    }

    /// Puts a reply into the slot that it belongs to, and collects whom to wake. Whether a call has its outcome by
    /// that; the reply itself if nobody has asked for one.
    #[inline]
    pub(super) fn complete(&mut self, reply: Reply, wakers: &mut Vec<Waker>) -> Result<bool, Reply> {
        let Some(&slot) = self.order.front() else {
            return Err(reply);
        };
        let place = &mut self.slots[slot as usize];
        place.missing -= 1;
        let is_last = place.missing == 0;
        let has_caller = matches!(place.state, State::Sent);
        if has_caller {
            let is_only = is_last && place.replies.is_empty();
            if is_only {
                place.state = State::Done(Outcome::One(reply));
            } else {
                if place.replies.is_empty() {
                    place.replies.reserve_exact(place.missing as usize + 1);
                }
                place.replies.push(reply);
            }
            if is_last {
                if !is_only {
                    place.state = State::Done(Outcome::Many(mem::take(&mut place.replies)));
                }
                wakers.extend(place.waker.take());
                self.waiting -= 1;
                self.waiting_big -= u32::from(place.big > 0);
            }
        } else if is_last {
            place.state = State::Free;
            place.replies = Vec::new();
            self.free.push(slot);
        }
        if is_last {
            self.order.pop_front();
        }
        Ok(is_last && has_caller)
    }

    /// Whether the next call in the order waits for the confirmation of a subscription.
    pub(super) fn awaits_subscription(&self) -> bool {
        let next = self.order.front();
        next.is_some_and(|slot| self.slots[*slot as usize].subscribes)
    }

    /// Whether requests wait for the driver to take them.
    pub(super) const fn has_encoded(&self) -> bool {
        !self.is_writing && !self.out.is_empty()
    }

    /// Makes known how many calls wait, and for what.
    #[inline]
    pub(super) fn report(&self, traffic: &Traffic) {
        traffic.set_in_flight(self.waiting);
        traffic.set_big_calls(self.waiting_big);
        traffic.set_leaving(self.big.iter().map(|(_, bytes)| bytes).sum());
    }

    /// Hands the encoded requests over to be written, in exchange for an empty buffer. Nobody else may write meanwhile.
    pub(super) fn take_encoded(&mut self, empty: &mut Outgoing) {
        mem::swap(&mut self.out, empty);
        self.is_writing = true;
        self.taken = self.encoded;
        self.gathered = 0;
    }

    /// Takes back what a caller could not write; the driver has to.
    pub(super) fn give_back(&mut self, mut rest: Outgoing) {
        rest.append(mem::take(&mut self.out));
        self.out = rest;
        self.is_writing = false;
    }

    /// This many of the bytes that were taken are written, and whether these were all. Requests move up.
    pub(super) fn written(&mut self, bytes: usize, is_all: bool) {
        self.is_writing = !is_all;
        self.count_written(bytes);
        self.move_up();
    }

    fn count_written(&mut self, bytes: usize) {
        self.written += bytes as u64;
        while self.big.front().is_some_and(|(end, _)| *end <= self.written) {
            self.big.pop_front();
        }
    }

    fn note_big(&mut self, bytes: usize) {
        if bytes > 0 {
            self.big.push_back((self.encoded, bytes));
        }
    }

    /// Moves requests of the line into the buffer, as far as there is room.
    fn move_up(&mut self) {
        while let Some(&slot) = self.line.front() {
            let size = match &self.slots[slot as usize].state {
                State::InLine(own) => own.len(),
                _ => 0,
            };
            if size > 0 && !self.has_room(size) {
                return;
            }
            self.line.pop_front();
            let place = &mut self.slots[slot as usize];
            if let State::InLine(own) = mem::replace(&mut place.state, State::Sent) {
                place.start = self.encoded;
                let big = place.big;
                self.encoded += size as u64;
                self.gathered += 1;
                self.out.append(*own);
                self.order.push_back(slot);
                self.note_big(big);
            } else {
                place.state = State::Free;
                self.free.push(slot);
            }
        }
    }

    /// Whether `size` more bytes may be encoded.
    fn has_room(&self, size: usize) -> bool {
        let unsent = self.encoded - self.written;
        unsent == 0 || unsent + size as u64 <= self.budget as u64
    }

    /// When to look at the deadlines next.
    pub(super) const fn sweep_at(&self) -> Option<Instant> {
        self.sweep.at
    }

    /// Ends the waiting of calls whose deadlines have passed, and decides when to look again.
    pub(super) fn sweep(&mut self, now: Instant, wakers: &mut Vec<Waker>) {
        let mut next: Option<Instant> = None;
        let mut look = |place: &mut Slot| {
            if place.deadline > now {
                next = Some(next.map_or(place.deadline, |known| known.min(place.deadline)));
                return false;
            }
            let is_news = !mem::replace(&mut place.is_late, true);
            if is_news {
                wakers.extend(place.waker.take());
            }
            is_news
        };
        for slot in &self.order {
            let place = &mut self.slots[*slot as usize];
            if matches!(place.state, State::Sent) {
                look(place);
            }
        }
        let (slots, free) = (&mut self.slots, &mut self.free);
        let (waiting, waiting_big) = (&mut self.waiting, &mut self.waiting_big);
        self.line.retain(|slot| {
            let place = &mut slots[*slot as usize];
            if !matches!(place.state, State::InLine(_)) {
                place.state = State::Free;
                free.push(*slot);
                return false;
            }
            let is_late = look(place);
            if is_late {
                // It is not to be sent any more, whenever the caller asks for its outcome.
                place.state = State::Done(Outcome::Late { replies: Vec::new() });
                *waiting -= 1;
                *waiting_big -= u32::from(place.big > 0);
            }
            !is_late
        });
        // With nothing under way, the next call is given as long as those before: it need not wake the driver.
        let shortest = self.sweep.shortest.take();
        let idle = || shortest.and_then(|shortest| now.checked_add(shortest.max(SLOWEST_SWEEP)));
        self.sweep.at = next.or_else(idle);
        // What was in line may have kept others from moving up.
        self.move_up();
    }

    /// Ends all calls: the connection is gone.
    pub(super) fn end(&mut self, wakers: &mut Vec<Waker>) {
        self.has_ended = true;
        self.out = Outgoing::default();
        // Whoever has taken bytes may be writing them at this moment.
        let taken = self.taken;
        for slot in self.order.drain(..).chain(self.line.drain(..)) {
            let place = &mut self.slots[slot as usize];
            let was_sent = match mem::replace(&mut place.state, State::Free) {
                State::Sent => true,
                State::InLine(_) => false,
                _ => continue,
            };
            place.state = State::Done(Outcome::Ended {
                written: was_sent && place.start < taken,
                replies: mem::take(&mut place.replies),
            });
            wakers.extend(place.waker.take());
        }
        self.waiting = 0;
        self.waiting_big = 0;
        self.big.clear();
    }

    /// Gives memory back that a peak has left.
    fn shrink(&mut self) {
        if self.slots.len() > KEPT_SLOTS && self.free.len() == self.slots.len() {
            self.slots = Vec::new();
            self.free = Vec::new();
            self.order = VecDeque::new();
            self.line = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests;
