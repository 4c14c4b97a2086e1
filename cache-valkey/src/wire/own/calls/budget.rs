//! Limits the bytes that are encoded and not yet written, and moves queued requests up as bytes are written.

use std::mem;

use super::Calls;
use super::slot::State;
use crate::wire::own::outgoing::Outgoing;

impl Calls {
    /// Hands the encoded requests over for writing, in exchange for an empty buffer. Until they are written,
    /// no other task may write.
    pub(in crate::wire::own) fn take_encoded(&mut self, empty: &mut Outgoing) {
        mem::swap(&mut self.out, empty);
        self.is_writing = true;
        self.taken = self.encoded;
        self.gathered = 0;
    }

    /// Takes back what a caller could not write, so that the driver writes it.
    pub(in crate::wire::own) fn give_back(&mut self, mut rest: Outgoing) {
        rest.append(mem::take(&mut self.out));
        self.out = rest;
        self.is_writing = false;
    }

    /// Records that `bytes` were written, and whether these were all that were taken. Queued requests move
    /// up.
    pub(in crate::wire::own) fn written(&mut self, bytes: usize, is_all: bool) {
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

    pub(super) fn note_big(&mut self, bytes: usize) {
        if bytes > 0 {
            self.big.push_back((self.encoded, bytes));
        }
    }

    /// Moves queued requests into the buffer as far as there is room.
    pub(super) fn move_up(&mut self) {
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
    pub(super) fn has_room(&self, size: usize) -> bool {
        let unsent = self.encoded - self.written;
        unsent == 0 || unsent + size as u64 <= self.budget as u64
    }
}
