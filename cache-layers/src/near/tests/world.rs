//! A model of all participants of the protocol, one step at a time: a backend with one key, the connection that
//! carries replies and reports in their order, readers, and writers.

use std::collections::VecDeque;
use std::sync::Arc;

use cache_core::{CacheError, Invalidation};
use futures::FutureExt as _;
use futures::channel::oneshot;

use super::super::flight::Read;
use super::super::{Boarding, Mark, Near};
use super::{KEY, found, lasting, near};

/// The participants and events of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cast {
    /// Readers that join each other.
    pub(super) readers: usize,
    /// Readers that only mark, as a caller does that has its own single-flight.
    pub(super) markers: usize,
    /// Writes of others, one after the other.
    pub(super) foreign: u64,
    /// Writes through the near cache, one after the other.
    pub(super) own: u64,
    /// How often the connection breaks.
    pub(super) cuts: u64,
    /// How many readers are dropped at some point.
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
    /// To a reader that only marked.
    Reply(usize, u64),
    /// To all participants of a far read.
    Answer(usize, u64),
    Changed,
    Written,
}

#[derive(Debug, Default)]
enum Reader {
    #[default]
    Idle,
    /// Takes part in the far read with this number.
    Reads(usize, Read<u64>),
    Marked(Mark<u64>),
    Sent(Box<Reader>),
    Replied(Box<Reader>, Option<u64>),
    Done(Option<u64>),
    Gone,
}

/// The progress of a far read that readers share.
#[derive(Debug)]
enum Far {
    /// Not polled yet. Its reply is sent in here.
    Begun(oneshot::Sender<Option<u64>>),
    Sent(oneshot::Sender<Option<u64>>),
    /// Its reply has arrived, for the first reader that is polled.
    Replied,
}

#[derive(Debug)]
pub(super) struct World {
    near: Arc<Near<u64>>,
    reads: Vec<Far>,
    cast: Cast,
    truth: u64,
    tracked: bool,
    connected: bool,
    /// Whether a connection was lost, so that a reader may have ended without a value.
    lost: bool,
    wire: VecDeque<Message>,
    readers: Vec<Reader>,
    /// What a reader's value must not be older than: the newest value that was answered to a writer of the same
    /// process before.
    floors: Vec<u64>,
    written: Own,
    /// The newest value whose writer, in the same process, has its answer.
    answered: u64,
}

/// A write through the near cache.
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
            reads: Vec::new(),
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
                // It waits for the reply, as all participants do.
                Reader::Reads(read, _) if matches!(self.reads[*read], Far::Sent(_)) => {}
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

    /// Takes one step, and checks what must hold after each.
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
            Reader::Reads(number, read) if matches!(self.reads[number], Far::Begun(_)) => {
                self.send(number);
                Reader::Reads(number, read)
            }
            Reader::Reads(_, read) => {
                let answer = read.now_or_never().expect("its reply is there");
                self.done(number, answer.ok().map(|found| found.value))
            }
            Reader::Marked(_) if !self.connected => Reader::Replied(Box::new(reader), None),
            Reader::Marked(_) => {
                self.tracked = true;
                self.wire.push_back(Message::Reply(number, self.truth));
                Reader::Sent(Box::new(reader))
            }
            Reader::Replied(reader, value) => {
                match (*reader, value) {
                    (Reader::Marked(mark), Some(value)) => _ = mark.complete(lasting(value, 8)),
                    (other, _) => drop(other),
                }
                self.done(number, value)
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
            let mark = self.near.begin(KEY, self.near.period());
            Reader::Marked(mark.expect("nothing happens in between"))
        }
    }

    fn board(&mut self) -> Reader {
        let (reply, replied) = oneshot::channel();
        let read = |mark: Mark<u64>| {
            async move {
                let value = replied.await.ok().flatten();
                mark.land(value.map(|value| lasting(value, 8)));
                value.map(found).ok_or(CacheError::Closed)
            }
            .boxed()
        };
        match self.near.board(KEY, self.near.period(), read) {
            Boarding::Late => unreachable!("nothing happens in between"),
            Boarding::Hit(found) => Reader::Done(Some(found.value)),
            Boarding::Joined(read) => {
                // Only one read can be joined: the newest.
                Reader::Reads(self.reads.len() - 1, read)
            }
            Boarding::Led(read) => {
                self.reads.push(Far::Begun(reply));
                Reader::Reads(self.reads.len() - 1, read)
            }
        }
    }

    /// The first reader that is polled sends the read.
    fn send(&mut self, number: usize) {
        if let Far::Begun(reply) = std::mem::replace(&mut self.reads[number], Far::Replied) {
            if self.connected {
                self.tracked = true;
                self.wire.push_back(Message::Answer(number, self.truth));
                self.reads[number] = Far::Sent(reply);
            } else {
                let _gone = reply.send(None);
            }
        }
    }

    fn answer(&mut self, number: usize, value: Option<u64>) {
        if matches!(self.reads[number], Far::Sent(_))
            && let Far::Sent(reply) = std::mem::replace(&mut self.reads[number], Far::Replied)
        {
            // All participants may have left.
            let _gone = reply.send(value);
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
            Some(Message::Answer(number, value)) => self.answer(number, Some(value)),
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

    /// The loss is detected: everything in flight is lost, and a new connection is made.
    fn detect(&mut self) {
        self.wire.clear();
        self.near.apply(&Invalidation::ConnectionLost);
        for number in 0..self.readers.len() {
            self.reply(number, None);
        }
        for number in 0..self.reads.len() {
            self.answer(number, None);
        }
        if let Own::Sent(value) = self.written {
            // The writer does not know its outcome. The copy is removed all the same.
            self.written = Own::Replied(value);
        }
        (self.connected, self.lost) = (true, true);
    }
}
