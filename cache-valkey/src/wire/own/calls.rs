//! Tracks the calls of one connection: their order, reply slots, deadlines and bytes.
//!
//! Everything here happens under one short lock, without waiting. A call encodes its request into the
//! connection's buffer and takes a slot; replies are put into the slots in request order. Slots and buffers
//! are reused, so a call allocates nothing.
//!
//! # Back-pressure
//!
//! At most [`BUDGET`] bytes are encoded and not yet written. If there is no room, a call encodes its request
//! into its own buffer, with values by reference, and queues. The connection's task moves queued requests up,
//! in order, as bytes are written, so that no call depends on another caller.
//!
//! # Deadlines
//!
//! There is no timer per call. The connection's task checks all deadlines when the next one may expire.
//!
//! Not in here: reading and writing, see `driver.rs`.

mod budget;
mod slot;
mod sweep;

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

pub(super) use slot::{Outcome, Request};
use slot::{Slot, State};
use sweep::Sweep;

use super::outgoing::Outgoing;
use crate::reply::Reply;
use crate::wire::Traffic;

/// How many bytes may be encoded and not yet written. A single request may be larger if nothing else is
/// unwritten.
pub(super) const BUDGET: usize = 4 * 1024 * 1024;

/// From this number of replies at once, callers leave writing to the driver.
///
/// Measured with two workers and the server on two cores: below this number, calls end sooner if half of them
/// are written early; above, the number of system calls dominates.
const MANY: usize = 128;

/// How many slots are kept while no call is in flight.
const KEPT_SLOTS: usize = 2048;

/// The calls of one connection.
#[derive(Debug)]
pub(super) struct Calls {
    /// Encoded requests that have not been taken for writing.
    out: Outgoing,
    /// The slots of requests encoded into `out`, in order.
    order: VecDeque<u32>,
    /// The slots of queued calls, for which there was no room, in order.
    line: VecDeque<u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Bytes encoded into `out` so far, taken for writing, and written.
    encoded: u64,
    taken: u64,
    written: u64,
    /// Unwritten requests with big values: where they end, and the bytes of these values.
    big: VecDeque<(u64, usize)>,
    /// Whether bytes have been taken and are not written yet.
    is_writing: bool,
    /// The requests in `out`.
    gathered: usize,
    /// How many replies arrived at once last time: so many callers are likely to send again.
    replies_at_once: usize,
    /// Calls that wait for an outcome, and how many of them have big values.
    waiting: u32,
    waiting_big: u32,
    sweep: Sweep,
    has_ended: bool,
    budget: usize,
}

/// A call that has begun.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Started {
    pub(super) slot: u32,
    /// Whether enough requests have been gathered to write them now.
    pub(super) is_full: bool,
    /// Whether the driver must check deadlines sooner than planned.
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
            replies_at_once: 0,
            waiting: 0,
            waiting_big: 0,
            sweep: Sweep::default(),
            has_ended: false,
            budget,
        }
    }

    /// Begins a call: encodes or queues its request. `None` if the connection has ended.
    ///
    /// `encode` gets the buffer, and whether the request is queued in it.
    #[inline]
    pub(super) fn begin(
        &mut self,
        request: Request,
        waker: Waker,
        encode: impl FnOnce(&mut Outgoing, bool),
    ) -> Option<Started> {
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
        Some(Started {
            slot,
            is_full: has_room && !self.is_writing && self.gathered >= self.wanted(),
            is_urgent,
        })
    }

    /// How many requests are gathered before a caller writes them: half of the expected ones, so that the
    /// server works on one half while callers send the other. If many are expected, the driver writes all at
    /// once.
    fn wanted(&self) -> usize {
        if self.replies_at_once < MANY {
            (self.replies_at_once / 2).max(1)
        } else {
            usize::MAX
        }
    }

    /// Records how many replies arrived at once.
    pub(super) const fn note_replies_at_once(&mut self, replies: usize) {
        self.replies_at_once = replies;
    }

    /// Whether more requests are expected at once, so that yielding to other tasks before writing pays off.
    pub(super) fn expects_more(&self) -> bool {
        self.order.len() > 1 || self.replies_at_once > 1
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

    /// Takes the outcome of a call, or registers `waker` until there is one.
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
            return Some(Outcome::TimedOut { replies });
        }
        if !place.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            place.waker = Some(waker.clone());
        }
        None
    }

    /// Cancels a call. Returns whether it had no outcome yet.
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

    /// Puts a reply into its slot and collects the wakers. Returns whether that completed a call, or the
    /// reply itself if no request is waiting for it.
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

    /// Whether there are encoded requests to write.
    pub(super) const fn has_encoded(&self) -> bool {
        !self.is_writing && !self.out.is_empty()
    }

    /// Publishes how many calls and bytes wait.
    #[inline]
    pub(super) fn report(&self, traffic: &Traffic) {
        traffic.set_in_flight(self.waiting);
        traffic.set_big_calls(self.waiting_big);
        traffic.set_leaving(self.big.iter().map(|(_, bytes)| bytes).sum());
        traffic.set_unwritten(self.encoded - self.written);
    }

    /// Ends all calls, because the connection has ended.
    pub(super) fn end(&mut self, wakers: &mut Vec<Waker>) {
        self.has_ended = true;
        self.out = Outgoing::default();
        // Taken bytes may be being written at this moment.
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

    /// Frees memory after a peak.
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
