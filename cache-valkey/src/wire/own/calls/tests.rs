//! A model of callers, driver and server around [`Calls`]: every order of a few steps is tried.
//!
//! All that happens to `Calls` happens under one lock, so orders of steps are all there is: threads add nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Wake;
use std::time::Duration;

use cache_core::clock::{self, Instant};

use super::*;
use crate::deadline::Deadline;

/// A waker that counts.
#[derive(Default)]
struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The bytes of every request of the model but the large one.
const SIZE: usize = 4;
/// Fits two requests.
const SMALL_BUDGET: usize = 2 * SIZE;

/// One step of anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A caller asks for one reply.
    Call,
    /// A caller asks for two.
    CallTwo,
    /// A caller asks for something larger than the budget.
    CallLarge,
    /// The oldest call under way is dropped by its caller.
    Drop,
    /// The driver takes what is encoded, and writes all of it.
    Write,
    /// The driver writes one byte.
    WriteOne,
    /// The server answers the oldest request that it has read.
    Answer,
    /// All deadlines pass.
    TimedOut,
    End,
}

const STEPS: [Step; 9] = [
    Step::Call,
    Step::CallTwo,
    Step::CallLarge,
    Step::Drop,
    Step::Write,
    Step::WriteOne,
    Step::Answer,
    Step::TimedOut,
    Step::End,
];

/// A call of the model.
struct Caller {
    number: u8,
    slot: u32,
    replies: u32,
    woken: Arc<Count>,
    waker: Waker,
}

/// A small number, as the model sends it.
fn byte(number: impl TryInto<u8>) -> u8 {
    number.try_into().unwrap_or_default()
}

struct Model {
    calls: Calls,
    callers: Vec<Caller>,
    next: u8,
    taken: Outgoing,
    /// What the server has read, and the replies it owes: the number of the call for each.
    wire: Vec<u8>,
    owed: VecDeque<u8>,
    answered: HashMap<u8, u32>,
    now: Instant,
    ended: bool,
}

impl Model {
    fn new() -> Self {
        Self {
            calls: Calls::new(SMALL_BUDGET),
            callers: Vec::new(),
            next: 0,
            taken: Outgoing::default(),
            wire: Vec::new(),
            owed: VecDeque::new(),
            answered: HashMap::new(),
            now: clock::now(),
            ended: false,
        }
    }

    fn call(&mut self, replies: u32, size: usize) {
        let number = self.next;
        self.next += 1;
        let woken = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&woken));
        let request = Request {
            replies,
            size,
            big: 0,
            subscribes: false,
            deadline: Deadline::until(self.now + Duration::from_secs(1)),
        };
        // Its number, how many replies it wants, how long it is, and padding.
        let mut bytes = vec![number, byte(replies), byte(size)];
        bytes.resize(size, 0);
        let begun = self
            .calls
            .begin(request, waker.clone(), |out, _| out.copy(&bytes));
        assert_eq!(begun.is_none(), self.ended);
        if let Some(Started { slot, is_full, .. }) = begun {
            if is_full && number % 2 == 1 {
                self.write_as_caller();
            }
            self.callers.push(Caller {
                number,
                slot,
                replies,
                woken,
                waker,
            });
        }
    }

    /// A caller writes one byte of what is gathered, and leaves the rest to the driver.
    fn write_as_caller(&mut self) {
        let mut batch = Outgoing::default();
        self.calls.take_encoded(&mut batch);
        self.wire.extend_from_slice(&batch.to_vec()[..1]);
        batch.advance(1);
        self.calls.written(1, batch.is_empty());
        self.calls.give_back(batch);
        self.serve();
    }

    fn write(&mut self, all: bool) {
        if self.taken.is_empty() {
            if !self.calls.has_encoded() {
                return;
            }
            self.calls.take_encoded(&mut self.taken);
        }
        let bytes = if all { self.taken.len() } else { 1 };
        self.wire.extend_from_slice(&self.taken.to_vec()[..bytes]);
        self.taken.advance(bytes);
        self.calls.written(bytes, self.taken.is_empty());
        self.serve();
    }

    /// The server reads requests.
    fn serve(&mut self) {
        while let Some(size) = self.wire.get(2).map(|size| usize::from(*size)) {
            if self.wire.len() < size {
                break;
            }
            for _ in 0..self.wire[1] {
                self.owed.push_back(self.wire[0]);
            }
            self.wire.drain(..size);
        }
    }

    fn answer(&mut self) {
        let Some(number) = self.owed.pop_front() else {
            return;
        };
        let part = self.answered.entry(number).or_default();
        let reply = Reply::Int(i64::from(number) * 10 + i64::from(*part));
        *part += 1;
        let mut wakers = Vec::new();
        self.calls
            .complete(reply, &mut wakers)
            .expect("somebody has asked for it");
        wakers.into_iter().for_each(Waker::wake);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Call => self.call(1, SIZE),
            Step::CallTwo => self.call(2, SIZE),
            Step::CallLarge => self.call(1, 3 * SMALL_BUDGET),
            Step::Drop if self.callers.is_empty() => {}
            Step::Drop => {
                let caller = self.callers.remove(0);
                self.calls.abandon(caller.slot);
            }
            Step::Write if !self.ended => self.write(true),
            Step::WriteOne if !self.ended => self.write(false),
            Step::Answer if !self.ended => self.answer(),
            Step::TimedOut if !self.ended => {
                self.now += Duration::from_secs(2);
                let mut wakers = Vec::new();
                self.calls.sweep(self.now, &mut wakers);
                wakers.into_iter().for_each(Waker::wake);
            }
            Step::End if !self.ended => {
                self.ended = true;
                let mut wakers = Vec::new();
                self.calls.end(&mut wakers);
                wakers.into_iter().for_each(Waker::wake);
            }
            _ => {}
        }
        self.check_bounds();
        self.poll_the_woken();
    }

    fn check_bounds(&self) {
        let unsent = usize::try_from(self.calls.encoded - self.calls.written).unwrap();
        assert!(
            self.ended || unsent <= SMALL_BUDGET.max(3 * SMALL_BUDGET),
            "{unsent}"
        );
        // A line that nothing will move up would wait for good.
        assert!(self.ended || self.calls.line.is_empty() || unsent > 0);
        assert_eq!(self.calls.waiting as usize, self.unfinished());
    }

    fn unfinished(&self) -> usize {
        let open = |caller: &&Caller| !matches!(self.calls.slots[caller.slot as usize].state, State::Done(_));
        self.callers.iter().filter(open).count()
    }

    /// Polls callers that were woken, as a runtime would; one that has an outcome must have been woken.
    fn poll_the_woken(&mut self) {
        let mut callers = std::mem::take(&mut self.callers);
        callers.retain(|caller| {
            let is_woken = caller.woken.0.swap(0, Ordering::Relaxed) > 0;
            if !is_woken {
                let place = &self.calls.slots[caller.slot as usize];
                assert!(
                    !matches!(place.state, State::Done(_)) && !place.is_late,
                    "a lost wake-up"
                );
                return true;
            }
            match self.calls.take(caller.slot, &caller.waker) {
                None => true,
                Some(outcome) => {
                    check_outcome(caller, &outcome);
                    false
                }
            }
        });
        self.callers = callers;
    }
}

/// A call only ever gets replies of its own, in their order.
fn check_outcome(caller: &Caller, outcome: &Outcome) {
    let own = |part: u32| Reply::Int(i64::from(caller.number) * 10 + i64::from(part));
    match outcome {
        Outcome::One(reply) => assert_eq!((reply, caller.replies), (&own(0), 1)),
        Outcome::Many(replies) => assert_eq!(replies, &[own(0), own(1)]),
        Outcome::TimedOut { replies } | Outcome::Ended { replies, .. } => {
            assert!(replies.len() < caller.replies as usize);
            assert!(replies.iter().eq(&[own(0), own(1)][..replies.len()]));
        }
    }
}

#[test]
fn every_order_of_steps_gives_each_call_its_own_replies() {
    const LENGTH: u32 = 6;
    let mut runs = 0_u64;
    for mut run in 0..(STEPS.len() as u64).pow(LENGTH) {
        let mut model = Model::new();
        let mut steps = Vec::new();
        for _ in 0..LENGTH {
            let step = STEPS[usize::try_from(run % STEPS.len() as u64).unwrap()];
            run /= STEPS.len() as u64;
            steps.push(step);
            model.step(step);
        }
        // Then the driver writes all there is and the server answers all of it.
        for _ in 0..20 {
            model.step(Step::Write);
            model.step(Step::Answer);
        }
        assert!(
            model.callers.is_empty(),
            "{steps:?} leaves calls without an outcome"
        );
        if !model.ended {
            let calls = &model.calls;
            assert_eq!(calls.free.len(), calls.slots.len(), "{steps:?} loses slots");
            assert!(calls.order.is_empty() && calls.line.is_empty() && calls.encoded == calls.written);
        }
        runs += 1;
    }
    assert_eq!(runs, 531_441);
}

#[test]
fn queued_calls_keep_their_order() {
    let mut model = Model::new();
    for _ in 0..6 {
        model.call(1, SIZE);
    }
    assert_eq!(model.calls.line.len(), 4);
    for _ in 0..10 {
        model.write(true);
    }
    assert_eq!(model.owed, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn untaken_request_ends_as_not_written() {
    let mut model = Model::new();
    model.call(1, SIZE);
    model.write(true);
    model.call(1, SIZE);
    // As a caller or the driver does, who may be writing when the connection ends.
    model.calls.take_encoded(&mut model.taken);
    model.call(1, SIZE);
    model.call(1, SIZE);
    assert_eq!(model.calls.line.len(), 1);
    model.calls.end(&mut Vec::new());
    let outcomes: Vec<_> = model
        .callers
        .iter()
        .map(|caller| model.calls.take(caller.slot, &caller.waker))
        .collect();
    let ended = |written| {
        let replies = Vec::new();
        Some(Outcome::Ended { written, replies })
    };
    assert_eq!(outcomes, [ended(true), ended(true), ended(false), ended(false)]);
}

#[test]
fn early_replies_are_kept_on_timeout_and_end() {
    for step in [Step::TimedOut, Step::End] {
        let mut model = Model::new();
        model.call(2, SIZE);
        model.write(true);
        model.answer();
        let caller = model.callers.remove(0);
        if step == Step::TimedOut {
            model
                .calls
                .sweep(model.now + Duration::from_secs(2), &mut Vec::new());
        } else {
            model.calls.end(&mut Vec::new());
        }
        let outcome = model.calls.take(caller.slot, &caller.waker);
        let replies = vec![Reply::Int(i64::from(caller.number) * 10)];
        let wanted = match step {
            Step::TimedOut => Outcome::TimedOut { replies },
            _ => Outcome::Ended {
                written: true,
                replies,
            },
        };
        assert_eq!(outcome, Some(wanted));
    }
}

#[test]
fn sweep_runs_when_the_first_deadline_passes() {
    let mut model = Model::new();
    let second = Duration::from_secs(1);
    model.call(1, SIZE);
    assert_eq!(model.calls.sweep_at(), Some(model.now + second));
    model.now += second / 2;
    model.call(1, SIZE);
    let mut wakers = Vec::new();
    model.calls.sweep(model.now + second / 2, &mut wakers);
    assert_eq!(wakers.len(), 1, "the first call is late, the second is not");
    assert_eq!(model.calls.sweep_at(), Some(model.now + second));
    // With nothing under way the next look is as far off as the next call's deadline is, then there is none.
    model.calls.end(&mut wakers);
    let mut idle = Calls::new(SMALL_BUDGET);
    idle.sweep.shortest = Some(second);
    idle.sweep(model.now, &mut wakers);
    assert_eq!(idle.sweep_at(), Some(model.now + second));
    idle.sweep(model.now + second, &mut wakers);
    assert_eq!(idle.sweep_at(), None);
}

#[test]
fn peak_of_calls_leaves_no_large_tables() {
    let mut calls = Calls::new(BUDGET);
    let deadline = Deadline::after(Duration::from_secs(1));
    let request = Request {
        replies: 1,
        size: 1,
        big: 0,
        subscribes: false,
        deadline,
    };
    let count = u32::try_from(3 * KEPT_SLOTS).unwrap();
    let begin = |_| {
        calls
            .begin(request, Waker::noop().clone(), |out, _| out.copy(b"x"))
            .unwrap()
            .slot
    };
    let slots: Vec<_> = (0..count).map(begin).collect();
    for slot in slots {
        calls.complete(Reply::Nil, &mut Vec::new()).unwrap();
        assert_eq!(calls.take(slot, Waker::noop()), Some(Outcome::One(Reply::Nil)));
    }
    assert!(calls.slots.capacity() <= KEPT_SLOTS, "{}", calls.slots.capacity());
}
