//! The queue of callers that wait for a lock in this process: one at a time asks the cache, in the order of arrival.
//!
//! The caller whose turn it is records a heartbeat while it is polled. If the heartbeat stops, the callers behind it
//! stop waiting for it and ask the cache out of turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::clock::{self, Instant};
use tokio::sync::{Mutex as Places, OwnedMutexGuard};

/// How often the caller whose turn it is records a heartbeat.
const BEAT: Duration = Duration::from_millis(50);
/// How long without a heartbeat until the others go on.
const PATIENCE: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<String, Arc<Queue>>>);

/// The callers that wait for one lock.
#[derive(Debug)]
struct Queue {
    places: Arc<Places<()>>,
    /// When the caller whose turn it is was last polled.
    beat: Mutex<Instant>,
}

/// The turn of a waiting caller, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    key: String,
    queue: Arc<Queue>,
    /// `None` for a caller that goes out of turn.
    place: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the caller's turn, but only while those in front are polled.
    pub(super) async fn take(self: &Arc<Self>, key: &str) -> Turn {
        let queue = Arc::clone(self.queues().entry(key.to_owned()).or_default());
        // Created first, so that it also cleans up after a caller that leaves while it waits.
        let mut turn = Turn {
            turns: Arc::clone(self),
            key: key.to_owned(),
            queue,
            place: None,
        };
        let mut place = std::pin::pin!(Arc::clone(&turn.queue.places).lock_owned());
        loop {
            let end = turn.queue.last_beat() + PATIENCE;
            tokio::select! {
                biased;
                place = &mut place => {
                    turn.queue.beat();
                    turn.place = Some(place);
                    return turn;
                }
                () = tokio::time::sleep_until(end) => {
                    if turn.queue.last_beat() + PATIENCE <= clock::now() {
                        return turn;
                    }
                }
            }
        }
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<String, Arc<Queue>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Runs `work`, and records heartbeats while it is polled.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            if self.place.is_some() {
                self.queue.beat();
            }
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(BEAT) => {}
            }
        }
    }
}

impl Queue {
    fn beat(&self) {
        *self.beat.lock().unwrap_or_else(PoisonError::into_inner) = clock::now();
    }

    fn last_beat(&self) -> Instant {
        *self.beat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            places: Arc::default(),
            beat: Mutex::new(clock::now()),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queues = self.turns.queues();
        self.place = None;
        // Waiting callers hold the queue too. This turn and the table make two.
        let is_last = |queue: &Arc<Queue>| Arc::ptr_eq(queue, &self.queue) && Arc::strong_count(queue) == 2;
        if queues.get(&self.key).is_some_and(is_last) {
            queues.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_are_in_order_and_leave_nothing_behind() {
        let turns = Arc::<Turns>::default();
        let order = Arc::<Mutex<Vec<u32>>>::default();
        let first = turns.take("k").await;
        let other = turns.take("other").await;
        let waiting = (1..=5).map(|number| {
            let (turns, order) = (Arc::clone(&turns), Arc::clone(&order));
            async move {
                let take = turns.take("k");
                if number == 3 {
                    let left = tokio::time::timeout(Duration::from_millis(1), take).await;
                    assert!(left.is_err());
                    return;
                }
                let _turn = take.await;
                order.lock().unwrap().push(number);
            }
        });
        let release = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            drop(first);
        };
        futures::join!(futures::future::join_all(waiting), release);
        assert_eq!(*order.lock().unwrap(), [1, 2, 4, 5]);
        assert_eq!(turns.queues().len(), 1);
        drop(other);
        assert!(turns.queues().is_empty());
    }
}
