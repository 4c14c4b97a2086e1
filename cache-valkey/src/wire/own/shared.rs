//! What the callers of a connection and its task share.

use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};

use super::calls::{Calls, Request, Started};
use super::outgoing::Outgoing;
use super::parse::NotTheProtocol;
use super::stream::Direct;
use crate::reply::ServerError;
use crate::wire::Traffic;

/// What callers and the connection's task share.
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) has_ended: AtomicBool,
    /// Writes directly to the socket, if the stream allows that.
    pub(super) direct: Option<Direct>,
    pub(super) traffic: Traffic,
    /// Counts how often the connection's task ran.
    pub(super) turns: AtomicU64,
}

pub(super) struct State {
    pub(super) calls: Calls,
    /// Wakes the connection's task; `is_parked` says whether it waits for requests.
    pub(super) driver: Option<Waker>,
    pub(super) is_parked: bool,
    /// A spare buffer for callers that write.
    pub(super) spare: Outgoing,
    pub(super) end: Option<End>,
}

/// Why a connection has ended.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// This side closed it.
    Dropped,
    /// The peer has closed it.
    Peer,
    /// The server sent this error without a request.
    ServerError(ServerError),
    /// The socket failed.
    Io(Arc<io::Error>),
    Protocol(NotTheProtocol),
    /// A reply arrived without a request.
    UnexpectedReply,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Begins a call and returns its slot. `None` if the connection has ended.
    #[inline]
    pub(super) fn begin(
        &self,
        request: Request,
        waker: Waker,
        encode: impl FnOnce(&mut Outgoing, bool),
    ) -> Option<u32> {
        let mut guard = self.state();
        let state = &mut *guard;
        let Started {
            slot,
            is_full,
            is_urgent,
        } = state.calls.begin(request, waker, encode)?;
        state.calls.report(&self.traffic);
        if is_full && let Some(direct) = &self.direct {
            let mut batch = mem::take(&mut state.spare);
            state.calls.take_encoded(&mut batch);
            drop(guard);
            self.write(direct, batch, is_urgent);
        } else {
            Self::wake_driver(guard, is_urgent);
        }
        Some(slot)
    }

    /// Writes requests on the caller's task. The connection's task gets what the socket does not take.
    fn write(&self, direct: &Direct, mut batch: Outgoing, is_urgent: bool) {
        let written = direct.try_write(&batch);
        if written > 0 {
            batch.advance(written);
        }
        let mut guard = self.state();
        let state = &mut *guard;
        let is_all = batch.is_empty();
        state.calls.written(written, is_all);
        if is_all {
            state.spare = batch;
        } else {
            state.calls.give_back(batch);
        }
        state.calls.report(&self.traffic);
        Self::wake_driver(guard, is_urgent);
    }

    /// Wakes the connection's task if it must write or check deadlines.
    fn wake_driver(mut state: MutexGuard<'_, State>, is_urgent: bool) {
        let has_to_write = state.is_parked && state.calls.has_encoded();
        if has_to_write || is_urgent {
            state.is_parked = false;
            let driver = state.driver.clone();
            drop(state);
            if let Some(driver) = driver {
                driver.wake();
            }
        }
    }

    /// Records that the connection's task has nothing to write and waits for a call.
    pub(super) fn park(state: &mut State, waker: &Waker) {
        state.is_parked = true;
        if !state.driver.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.driver = Some(waker.clone());
        }
    }

    /// Ends all calls, with `end` as the reason unless there is one already.
    pub(super) fn end(&self, end: End) {
        let mut wakers = Vec::new();
        {
            let mut state = self.state();
            state.end.get_or_insert(end);
            state.calls.end(&mut wakers);
            state.calls.report(&self.traffic);
            self.has_ended.store(true, Ordering::Release);
        }
        if let Some(direct) = &self.direct {
            direct.shut_down();
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}
