//! A buffer of encoded bytes to write, in order. Big values are held by reference; everything else is copied.
//!
//! Not in here: its limit, see `calls.rs`; the protocol, see `encode.rs`.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The capacity that an empty buffer keeps. A larger buffer is freed after a burst.
const KEPT: usize = 64 * 1024;

/// The most pieces that one system call writes.
pub(super) const PIECES: usize = 16;

/// Encoded bytes in the order in which they are written.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// The bytes before `tail`.
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
}

impl Outgoing {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reserves room for `bytes` to copy.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.tail.reserve(bytes);
    }

    /// Appends a copy of `bytes`.
    #[inline]
    pub(super) fn copy(&mut self, bytes: &[u8]) {
        self.tail.put_slice(bytes);
        self.len += bytes.len();
    }

    /// Appends `bytes` without copying them.
    pub(super) fn share(&mut self, bytes: Bytes) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
        self.len += bytes.len();
        self.pieces.push_back(bytes);
    }

    /// Appends all of `other`.
    pub(super) fn append(&mut self, mut other: Self) {
        if self.is_empty() && other.pieces.is_empty() && self.tail.capacity() < other.tail.len() {
            *self = other;
            return;
        }
        while let Some(piece) = other.pieces.pop_front() {
            self.share(piece);
        }
        self.copy(&other.tail);
    }

    /// Collects the first bytes to write in at most [`PIECES`] pieces. Returns the number of pieces.
    pub(super) fn first_pieces<'a>(&'a self, into: &mut [IoSlice<'a>; PIECES]) -> usize {
        let pieces = self.pieces.iter().map(|piece| &piece[..]);
        let all = pieces.chain(std::iter::once(&self.tail[..]));
        let mut count = 0;
        for (place, piece) in into.iter_mut().zip(all.filter(|piece| !piece.is_empty())) {
            *place = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    /// The bytes, if they are in one piece.
    pub(super) fn as_one_piece(&self) -> Option<&[u8]> {
        self.pieces.is_empty().then_some(&self.tail[..])
    }

    /// Drops the first `written` bytes.
    pub(super) fn advance(&mut self, mut written: usize) {
        self.len -= written;
        while let Some(first) = self.pieces.front_mut() {
            if first.len() > written {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.pieces.pop_front();
        }
        self.tail.advance(written);
        if self.len == 0 {
            self.reset();
        }
    }

    /// Frees what a burst has allocated.
    fn reset(&mut self) {
        self.tail.clear();
        if self.tail.capacity() > KEPT {
            self.tail = BytesMut::new();
        }
        if self.pieces.capacity() > PIECES {
            self.pieces = VecDeque::new();
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.tail.capacity()
    }

    #[cfg(test)]
    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut all: Vec<u8> = self.pieces.iter().flatten().copied().collect();
        all.extend_from_slice(&self.tail);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_their_order() {
        let mut out = Outgoing::default();
        out.copy(b"one ");
        out.share(Bytes::from_static(b"two "));
        out.share(Bytes::from_static(b"three "));
        out.copy(b"four");
        let mut other = Outgoing::default();
        other.share(Bytes::from_static(b" five"));
        other.copy(b" six");
        out.append(other);
        assert_eq!(out.to_vec(), b"one two three four five six");
        let mut read = Vec::new();
        while !out.is_empty() {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let count = out.first_pieces(&mut pieces);
            // As a socket that takes three bytes at a time.
            let mut taken = 0;
            for piece in &pieces[..count] {
                let part = piece.len().min(3 - taken);
                read.extend_from_slice(&piece[..part]);
                taken += part;
            }
            out.advance(taken);
        }
        assert_eq!(read, b"one two three four five six");
    }

    #[test]
    fn burst_leaves_no_large_buffer() {
        let mut out = Outgoing::default();
        out.copy(&vec![0; 4 * KEPT]);
        for _ in 0..100 {
            out.share(Bytes::from_static(b"x"));
        }
        out.advance(out.len());
        assert!(out.capacity() <= KEPT, "{}", out.capacity());
        assert!(out.pieces.capacity() <= PIECES);
    }
}
