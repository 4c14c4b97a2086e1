//! Work that runs once, in a task, for all callers that want its result at the same time. It goes on whether or not
//! those callers are polled, or stop waiting.
//!
//! Not in here: the work, and how long a caller waits for it.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

/// A piece of work of which one run can be in progress at a time.
pub(crate) struct SharedTask<T>(Mutex<Option<watch::Receiver<Option<T>>>>);

/// The result of work in progress.
pub(crate) struct Joined<T>(watch::Receiver<Option<T>>);

impl<T> Default for SharedTask<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone + Send + Sync + 'static> SharedTask<T> {
    /// Joins the work in progress, or starts `work` in a task.
    pub(crate) fn join<Work>(&self, work: impl FnOnce() -> Work) -> Joined<T>
    where
        Work: Future<Output = T> + Send + 'static,
    {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Without a value and a sender the run panicked, or ended with its runtime.
        let under_way =
            |result: &&watch::Receiver<Option<T>>| result.has_changed().is_ok() && result.borrow().is_none();
        if let Some(result) = current.as_ref().filter(under_way) {
            return Joined(result.clone());
        }
        let (sender, result) = watch::channel(None);
        *current = Some(result.clone());
        drop(current);
        let work = work();
        tokio::spawn(async move {
            sender.send_replace(Some(work.await));
        });
        Joined(result)
    }
}

impl<T: Clone> Joined<T> {
    /// Waits for the result. Returns `None` if the work ended without one.
    pub(crate) async fn result(mut self) -> Option<T> {
        let result = self.0.wait_for(Option::is_some).await.ok()?;
        result.clone()
    }
}

impl<T> fmt::Debug for SharedTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedTask")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use futures::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn callers_at_the_same_time_share_the_work_and_later_ones_start_it_again() {
        let (shared, count) = (SharedTask::default(), Arc::<AtomicU32>::default());
        let work = || {
            let count = Arc::clone(&count);
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                count.fetch_add(1, Ordering::Relaxed) + 1
            }
        };
        let results = join_all((0..10).map(|_| shared.join(work).result())).await;
        assert_eq!(results, [Some(1); 10]);
        assert_eq!(shared.join(work).result().await, Some(2));
    }

    #[test]
    fn work_that_went_with_its_runtime_is_started_again() {
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let shared = SharedTask::<u32>::default();
        let lost = runtime().block_on(async { shared.join(std::future::pending) });
        runtime().block_on(async {
            assert_eq!(lost.result().await, None);
            assert_eq!(shared.join(|| async { 7 }).result().await, Some(7));
        });
    }

    #[tokio::test]
    async fn work_that_panics_has_no_result_and_is_started_again() {
        let shared = SharedTask::<u32>::default();
        assert_eq!(
            shared.join(|| async { panic!("on purpose") }).result().await,
            None
        );
        assert_eq!(shared.join(|| async { 7 }).result().await, Some(7));
    }
}
