//! A task in the background that belongs to no runtime for good.
//!
//! A client outlives the runtime that connected it: one runtime per test, a runtime per thread. So whoever needs a task
//! asks for it with every call ([`Background::ensure`]), and it is started again where the call runs: if its runtime
//! is gone, and if its runtime exists but does not run, as that of a process that sleeps between calls.
//!
//! Not in here: what the tasks do.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::Lease;
use cache_core::clock::{self, Instant};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// How often a task shows that it runs, while it has nothing else to do.
const BEAT: Duration = Duration::from_millis(250);

/// For how long a task may show no sign of running before its runtime counts as suspended.
const SUSPENDED: Duration = Duration::from_secs(1);

/// A task, and whether it runs.
pub(crate) struct Background {
    born: Instant,
    /// When it was last seen to run, see [`Background::stamp`]; 0 while none runs.
    seen: AtomicU64,
    /// Holds as long as it is seen.
    lease: Lease,
    run: Mutex<Current>,
}

/// The run that counts.
#[derive(Debug, Default)]
struct Current {
    number: u64,
    task: Option<AbortHandle>,
    started: Option<Instant>,
}

/// Held by a task while it runs. When it is dropped, the next call may start another one.
#[derive(Debug)]
pub(crate) struct Run {
    background: Arc<Background>,
    number: u64,
}

impl Background {
    /// Nothing runs yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            born: clock::now(),
            seen: AtomicU64::new(0),
            lease: Lease::new(),
            run: Mutex::default(),
        })
    }

    /// Holds as long as a task was seen to run a moment ago, so not after the process was frozen.
    pub(crate) const fn lease(&self) -> Lease {
        self.lease
    }

    /// Whether it was started and has not ended. It may be suspended.
    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        self.seen.load(Ordering::Acquire) != 0
    }

    /// Whether it was seen to run a moment before `now`.
    #[inline]
    pub(crate) fn is_seen(&self, now: Instant) -> bool {
        let seen = self.seen.load(Ordering::Acquire);
        seen != 0 && self.stamp(now).saturating_sub(seen) <= micros(SUSPENDED)
    }

    /// Starts `task` on the current runtime unless one runs; whether it was started.
    ///
    /// A task whose runtime is suspended is replaced: it ends when that runtime goes on.
    pub(crate) fn ensure<T>(self: &Arc<Self>, task: impl FnOnce(Run) -> T) -> bool
    where
        T: Future<Output = ()> + Send + 'static,
    {
        let now = clock::now();
        if self.is_seen(now) {
            return false;
        }
        let Ok(runtime) = Handle::try_current() else {
            return false;
        };
        let number = {
            let mut run = self.run();
            let is_recent = |at: Instant| now.saturating_duration_since(at) <= SUSPENDED;
            let has_ended = run.task.as_ref().is_some_and(AbortHandle::is_finished);
            let is_starting = run.started.is_some_and(is_recent) && !has_ended;
            if is_starting || self.is_seen(now) {
                return false;
            }
            if let Some(suspended) = run.task.take() {
                suspended.abort();
            }
            run.number += 1;
            run.started = Some(now);
            run.number
        };
        let held = Run {
            background: Arc::clone(self),
            number,
        };
        // Not under the lock: a runtime that is shutting down drops the task at once.
        let task = runtime.spawn(task(held)).abort_handle();
        let mut run = self.run();
        if run.number == number {
            run.task = Some(task);
        }
        true
    }

    /// Ends the task.
    pub(crate) fn stop(&self) {
        if let Some(task) = self.run().task.take() {
            task.abort();
        }
    }

    /// Microseconds since the beginning, never 0.
    fn stamp(&self, now: Instant) -> u64 {
        micros(now.saturating_duration_since(self.born)) + 1
    }

    fn run(&self) -> MutexGuard<'_, Current> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn micros(duration: Duration) -> u64 {
    duration.as_secs() * 1_000_000 + duration.subsec_micros() as u64
}

impl Run {
    /// Whether no other run has taken over.
    pub(crate) fn is_current(&self) -> bool {
        self.background.run().number == self.number
    }

    /// Whether the runtime did not run this task for so long that it counted as suspended, or has just begun to.
    pub(crate) fn was_suspended(&self) -> bool {
        !self.background.is_seen(clock::now())
    }

    /// Shows that it runs. To be called when whatever a suspension has made doubtful is settled.
    pub(crate) fn resume(&self) {
        self.resume_at(clock::now());
    }

    /// Shows that it runs, unless it was suspended. One that begins in here is not hidden: what is shown is the time of the
    /// look.
    pub(crate) fn beat(&self) {
        let now = clock::now();
        if self.background.is_seen(now) {
            self.resume_at(now);
        }
    }

    fn resume_at(&self, now: Instant) {
        let run = self.background.run();
        if run.number == self.number {
            let stamp = self.background.stamp(now);
            self.background.seen.store(stamp, Ordering::Release);
            self.background.lease.renew(now + SUSPENDED);
        }
    }

    /// From now on the next call may start another run.
    pub(crate) fn end(&self) {
        let mut run = self.background.run();
        if run.number == self.number {
            (run.task, run.started) = (None, None);
            self.background.seen.store(0, Ordering::Release);
            self.background.lease.end();
        }
    }

    /// Does `work` and shows meanwhile that it runs, until it finds that it was suspended.
    pub(crate) async fn attend<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            self.beat();
            if let Ok(done) = tokio::time::timeout(BEAT, work.as_mut()).await {
                return done;
            }
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background")
            .field("is_running", &self.is_running())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    async fn beating(run: Run) {
        run.resume();
        run.attend(pending::<()>()).await;
    }

    async fn until_seen(background: &Background) {
        while !background.is_seen(clock::now()) {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_task_whose_runtime_is_gone_is_started_again_where_the_call_runs() {
        let background = Background::new();
        let first = runtime();
        first.block_on(async {
            assert!(background.ensure(beating));
            until_seen(&background).await;
            assert!(!background.ensure(beating), "one is enough");
        });
        drop(first);
        assert!(!background.is_running());
        runtime().block_on(async {
            assert!(background.ensure(beating));
            until_seen(&background).await;
        });
    }

    #[test]
    fn outside_of_a_runtime_nothing_is_started() {
        assert!(!Background::new().ensure(beating));
    }

    #[test]
    fn a_task_whose_runtime_does_not_run_is_replaced_and_ends_when_it_does() {
        let background = Background::new();
        let (first, second) = (runtime(), runtime());
        let held = Arc::new(());
        let task = |run: Run| {
            let held = Arc::clone(&held);
            async move {
                beating(run).await;
                drop(held);
            }
        };
        first.block_on(async {
            assert!(background.ensure(task));
            until_seen(&background).await;
        });
        second.block_on(async {
            while background.is_seen(clock::now()) {
                tokio::time::sleep(BEAT).await;
            }
            assert!(background.is_running());
            assert!(background.ensure(task));
            assert!(!background.ensure(task), "it is about to begin");
            until_seen(&background).await;
        });
        assert_eq!(Arc::strong_count(&held), 3);
        first.block_on(async {
            while Arc::strong_count(&held) > 2 {
                tokio::task::yield_now().await;
            }
        });
        assert!(
            background.is_running(),
            "the end of the first says nothing of the second"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_waits_is_seen_all_the_time() {
        let background = Background::new();
        background.ensure(beating);
        until_seen(&background).await;
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(170)).await;
            assert!(background.is_seen(clock::now()));
        }
    }
}
