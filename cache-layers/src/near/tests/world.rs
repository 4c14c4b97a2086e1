//! A model of all who take part in the protocol, one step at a time: a backend with one key, the connection
//! that carries replies and reports in their order, readers, and writers.

use std::collections::VecDeque;
use std::sync::Arc;

use cache_core::{CacheError, Invalidation};
use futures::FutureExt as _;

use super::super::flight::{Answer, Seat};
use super::super::{Boarding, Flight, Mark, Near};
use super::{KEY, found, lasting, near};

/// What a run is made of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cast {
    /// Readers that join each other.
    pub(super) readers: usize,
    /// Readers that only mark, as one does who has a single-flight of its own.
    pub(super) markers: usize,
    /// Writes of others, one after the other.
    pub(super) foreign: u64,
    /// Writes through the tier, one after the other.
    pub(super) own: u64,
    /// How often the connection breaks.
    pub(super) cuts: u64,
    /// How many readers go away at some point.
    pub(super) drops: usize,
}

/// Something that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Reader(usize),
    Drop(usize),
    ForeignWrite,
    OwnWrite,
    OwnAnswer,
    Deliver,
    Cut,
    Detect,
}

#[derive(Debug)]
enum Message {
    Reply(usize, u64),
    Changed,
    Written,
}

#[derive(Debug, Default)]
enum Reader {
    #[default]
    Idle,
    Leads(Flight<u64>),
    Marked(Mark<u64>),
    Sent(Box<Reader>),
    Replied(Box<Reader>, Option<u64>),
    Joined(Seat<u64>),
    Done(Option<u64>),
    Gone,
}

#[derive(Debug)]
pub(super) struct World {
    near: Arc<Near<u64>>,
    cast: Cast,
    truth: u64,
    tracked: bool,
    connected: bool,
    /// Whether a connection was lost, so that a reader may have ended without a value.
    lost: bool,
    wire: VecDeque<Message>,
    readers: Vec<Reader>,
    /// What a reader must not be older than: what was answered to a writer of the same process before.
    floors: Vec<u64>,
    written: Own,
    /// The newest value whose writer, in the same process, has its answer.
    answered: u64,
}

/// A write through the tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    None,
    Sent(u64),
    Replied(u64),
}

impl World {
    pub(super) fn new(cast: Cast) -> Self {
        let readers = cast.readers + cast.markers;
        Self {
            near: near(1 << 16, 100),
            cast,
            truth: 1,
            tracked: false,
            connected: true,
            lost: false,
            wire: VecDeque::new(),
            readers: std::iter::repeat_with(Reader::default).take(readers).collect(),
            floors: vec![0; readers],
            written: Own::None,
            answered: 0,
        }
    }

    /// What can happen now.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (number, reader) in self.readers.iter().enumerate() {
            match reader {
                // Joined: it can go on once its leader has ended.
                Reader::Joined(seat) if seat.clone().landed().now_or_never().is_none() => {}
                Reader::Sent(_) | Reader::Done(_) | Reader::Gone => {}
                _ => steps.push(Step::Reader(number)),
            }
            let under_way = !matches!(reader, Reader::Idle | Reader::Done(_) | Reader::Gone);
            if under_way && self.cast.drops > 0 {
                steps.push(Step::Drop(number));
            }
        }
        if self.cast.foreign > 0 {
            steps.push(Step::ForeignWrite);
        }
        if self.cast.own > 0 && self.written == Own::None && self.connected {
            steps.push(Step::OwnWrite);
        }
        if matches!(self.written, Own::Replied(_)) {
            steps.push(Step::OwnAnswer);
        }
        if !self.wire.is_empty() {
            steps.push(Step::Deliver);
        }
        if self.connected && self.cast.cuts > 0 {
            steps.push(Step::Cut);
        }
        if !self.connected {
            steps.push(Step::Detect);
        }
        steps
    }

    /// Lets a step happen, and checks what must hold after each.
    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Reader(number) => self.read(number),
            Step::Drop(number) => {
                self.cast.drops -= 1;
                self.readers[number] = Reader::Gone;
            }
            Step::ForeignWrite => {
                self.cast.foreign -= 1;
                self.change();
            }
            Step::OwnWrite => {
                self.cast.own -= 1;
                self.change();
                self.written = Own::Sent(self.truth);
                self.wire.push_back(Message::Written);
            }
            Step::OwnAnswer => {
                if let Own::Replied(value) = self.written {
                    self.near.remove(KEY);
                    self.answered = value;
                }
                self.written = Own::None;
            }
            Step::Deliver => self.deliver(),
            Step::Cut => {
                self.cast.cuts -= 1;
                (self.connected, self.tracked) = (false, false);
            }
            Step::Detect => self.detect(),
        }
        if let Some(near) = self.near.look(KEY) {
            let reported = self
                .wire
                .iter()
                .any(|message| matches!(message, Message::Changed));
            assert!(
                near.value == self.truth || reported || !self.connected,
                "{} is near, {} is true, and no report of it is on its way",
                near.value,
                self.truth
            );
            assert!(near.value >= self.answered, "older than an answered write");
        }
    }

    /// Checks what must hold when nothing can happen any more.
    pub(super) fn end(&self) {
        for reader in &self.readers {
            let ended = match reader {
                Reader::Done(value) => value.is_some() || self.lost,
                Reader::Gone => true,
                _ => false,
            };
            assert!(ended, "stranded: {reader:?}");
        }
        assert_eq!(self.near.marks(), 0, "no mark is left");
        let near = self.near.look(KEY).map(|found| found.value);
        assert!(near.is_none_or(|near| near == self.truth), "{near:?} is left");
    }

    /// Whether anything is near.
    pub(super) fn is_kept(&self) -> bool {
        self.near.look(KEY).is_some()
    }

    fn change(&mut self) {
        self.truth += 1;
        if self.tracked {
            self.tracked = false;
            self.wire.push_back(Message::Changed);
        }
    }

    fn read(&mut self, number: usize) {
        let reader = std::mem::take(&mut self.readers[number]);
        self.readers[number] = match reader {
            Reader::Idle => self.start(number),
            Reader::Leads(_) | Reader::Marked(_) if !self.connected => {
                Reader::Replied(Box::new(reader), None)
            }
            Reader::Leads(_) | Reader::Marked(_) => {
                self.tracked = true;
                self.wire.push_back(Message::Reply(number, self.truth));
                Reader::Sent(Box::new(reader))
            }
            Reader::Replied(reader, value) => {
                match (*reader, value) {
                    (Reader::Leads(flight), Some(value)) => {
                        flight.land(&Ok(found(value)), Some(lasting(value, 8)));
                    }
                    (Reader::Leads(flight), None) => flight.land(&Err(CacheError::Closed), None),
                    (Reader::Marked(mark), Some(value)) => _ = mark.complete(lasting(value, 8)),
                    (other, _) => drop(other),
                }
                self.done(number, value)
            }
            Reader::Joined(seat) => {
                let landed: Option<Option<Answer<u64>>> = seat.landed().now_or_never();
                match landed.expect("its leader has ended") {
                    Some(answer) => self.done(number, answer.ok().map(|found| found.value)),
                    None => self.board(),
                }
            }
            other => other,
        };
    }

    fn start(&mut self, number: usize) -> Reader {
        self.floors[number] = self.answered;
        if let Some(found) = self.near.look(KEY) {
            self.done(number, Some(found.value))
        } else if number < self.cast.readers {
            self.board()
        } else {
            Reader::Marked(self.near.begin(KEY))
        }
    }

    fn board(&self) -> Reader {
        match self.near.board(KEY, self.near.period()) {
            Boarding::Late => unreachable!("nothing happens in between"),
            Boarding::Hit(found) => Reader::Done(Some(found.value)),
            Boarding::Joined(seat) => Reader::Joined(seat),
            Boarding::Led(flight) => Reader::Leads(flight),
        }
    }

    fn done(&self, number: usize, value: Option<u64>) -> Reader {
        if let Some(value) = value {
            assert!(
                value >= self.floors[number],
                "older than a write that was answered before"
            );
        }
        Reader::Done(value)
    }

    fn deliver(&mut self) {
        match self.wire.pop_front() {
            Some(Message::Reply(number, value)) => self.reply(number, Some(value)),
            Some(Message::Changed) => self.near.apply(&Invalidation::Keys(vec![KEY.to_owned()])),
            Some(Message::Written) => {
                if let Own::Sent(value) = self.written {
                    self.written = Own::Replied(value);
                }
            }
            None => {}
        }
    }

    fn reply(&mut self, number: usize, value: Option<u64>) {
        let reader = &mut self.readers[number];
        if let Reader::Sent(_) = reader
            && let Reader::Sent(inside) = std::mem::take(reader)
        {
            *reader = Reader::Replied(inside, value);
        }
    }

    /// The loss is seen: what is on its way is lost, and a new connection is made.
    fn detect(&mut self) {
        self.wire.clear();
        self.near.apply(&Invalidation::ConnectionLost);
        for number in 0..self.readers.len() {
            self.reply(number, None);
        }
        if let Own::Sent(value) = self.written {
            // Its outcome is unknown to the writer; the copy goes all the same.
            self.written = Own::Replied(value);
        }
        (self.connected, self.lost) = (true, true);
    }
}
