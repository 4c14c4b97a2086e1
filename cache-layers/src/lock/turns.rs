//! Who of this process is next: of all who wait for a lock here, one at a time asks the cache, in the order in
//! which they came.
//!
//! A caller whose turn it is shows every now and then that it is polled. While it does not, those behind it do not wait
//! for it: then they ask the cache out of turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::clock::{self, Instant};
use tokio::sync::{Mutex as Places, OwnedMutexGuard};

/// How often the caller whose turn it is shows that it is polled.
const BEAT: Duration = Duration::from_millis(50);
/// After how long without that the others go on.
const PATIENCE: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<String, Arc<Queue>>>);

/// Those who wait for one lock.
#[derive(Debug)]
struct Queue {
    places: Arc<Places<()>>,
    /// When a caller whose turn it is was last polled.
    beat: Mutex<Instant>,
}

/// The turn of one who waits, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    key: String,
    queue: Arc<Queue>,
    /// None for one who goes out of turn.
    place: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for one's turn; not for longer than those in front are polled.
    pub(super) async fn take(self: &Arc<Self>, key: &str) -> Turn {
        let queue = Arc::clone(self.queues().entry(key.to_owned()).or_default());
        // Made first, so that it tidies up also after a caller who left while waiting.
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
    /// Does `work`, and shows meanwhile that it is polled.
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
        // Those who wait hold the queue, too: this turn and the table are two.
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
