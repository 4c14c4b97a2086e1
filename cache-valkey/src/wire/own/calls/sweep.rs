//! Times out calls whose deadlines have passed, without a timer per call.

use std::mem;
use std::task::Waker;
use std::time::Duration;

use cache_core::clock::Instant;

use super::Calls;
use super::slot::{Outcome, Slot, State};

/// The shortest time between two deadline sweeps while no call is in flight.
const SLOWEST_SWEEP: Duration = Duration::from_millis(100);

/// When the deadlines are checked.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    pub(super) at: Option<Instant>,
    /// The shortest call timeout since the last sweep.
    pub(super) shortest: Option<Duration>,
}

impl Calls {
    /// When to check the deadlines next.
    pub(in crate::wire::own) const fn sweep_at(&self) -> Option<Instant> {
        self.sweep.at
    }

    /// Times out calls whose deadlines have passed, and plans the next sweep.
    pub(in crate::wire::own) fn sweep(&mut self, now: Instant, wakers: &mut Vec<Waker>) {
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
                // It must not be sent any more, even if the caller takes its outcome later.
                place.state = State::Done(Outcome::TimedOut { replies: Vec::new() });
                *waiting -= 1;
                *waiting_big -= u32::from(place.big > 0);
            }
            !is_late
        });
        // With no call in flight, assume that the next call has as long a timeout, so that it need not wake
        // the driver.
        let shortest = self.sweep.shortest.take();
        let idle = || shortest.and_then(|shortest| now.checked_add(shortest.max(SLOWEST_SWEEP)));
        self.sweep.at = next.or_else(idle);
        // A removed call may have blocked the queue.
        self.move_up();
    }
}
