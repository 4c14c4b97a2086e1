//! Who of this process is next: of all who wait for a lock here, one at a time asks the cache, in the order in
//! which they came.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as Queue, OwnedMutexGuard};

#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<String, Arc<Queue<()>>>>);

/// The turn of one who waits, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    key: String,
    place: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for one's turn.
    pub(super) async fn take(self: &Arc<Self>, key: &str) -> Turn {
        // Made first, so that it tidies up also after a caller who left while waiting.
        let mut turn = Turn {
            turns: Arc::clone(self),
            key: key.to_owned(),
            place: None,
        };
        let queue = Arc::clone(self.queues().entry(key.to_owned()).or_default());
        turn.place = Some(queue.lock_owned().await);
        turn
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<String, Arc<Queue<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queues = self.turns.queues();
        self.place = None;
        // Whoever waits has the queue, too.
        if queues
            .get(&self.key)
            .is_some_and(|queue| Arc::strong_count(queue) == 1)
        {
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
