//! The future of one request.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::calls::{Outcome, Request};
use super::outgoing::Outgoing;
use super::shared::Shared;

/// A request in flight. Its slot is released however it ends.
pub(super) struct Call<'a, E> {
    pub(super) shared: &'a Shared,
    pub(super) request: Request,
    pub(super) encode: Option<E>,
    pub(super) slot: Option<u32>,
}

impl<E> Unpin for Call<'_, E> {}

impl<E: FnOnce(&mut Outgoing, bool)> Future for Call<'_, E> {
    type Output = Outcome;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let call = &mut *self;
        if let Some(slot) = call.slot {
            let mut state = call.shared.state();
            let Some(outcome) = state.calls.take(slot, cx.waker()) else {
                return Poll::Pending;
            };
            if matches!(outcome, Outcome::TimedOut { .. }) {
                state.calls.report(&call.shared.traffic);
                call.shared.traffic.abandon();
            }
            drop(state);
            call.slot = None;
            return Poll::Ready(outcome);
        }
        let Some(encode) = call.encode.take() else {
            return Poll::Pending;
        };
        call.slot = call.shared.begin(call.request, cx.waker().clone(), encode);
        match call.slot {
            Some(_) => Poll::Pending,
            None => Poll::Ready(Outcome::Ended {
                written: false,
                replies: Vec::new(),
            }),
        }
    }
}

impl<E> Drop for Call<'_, E> {
    fn drop(&mut self) {
        let Some(slot) = self.slot else { return };
        let mut state = self.shared.state();
        if state.calls.abandon(slot) {
            state.calls.report(&self.shared.traffic);
            self.shared.traffic.abandon();
        }
    }
}
