//! Runs a background task that can move from one runtime to another.
//!
//! A client may outlive the runtime that connected it: tests use one runtime each, and some processes one per
//! thread. So every call asks for the task ([`BackgroundTask::ensure`]), and the task starts again on the
//! caller's runtime if its own runtime is gone or suspended, as in a process that sleeps between calls.
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

/// How often an idle task records that it is running.
const HEARTBEAT: Duration = Duration::from_millis(250);

/// How long a task may go without a heartbeat before its runtime counts as suspended.
const SUSPENDED: Duration = Duration::from_secs(1);

/// A task and its heartbeat.
pub(crate) struct BackgroundTask {
    created: Instant,
    /// When the task last recorded a heartbeat, see [`BackgroundTask::stamp`]; 0 while none runs.
    last_active: AtomicU64,
    /// Valid while heartbeats are recent.
    lease: Lease,
    run: Mutex<Current>,
}

/// The latest run.
#[derive(Debug, Default)]
struct Current {
    number: u64,
    task: Option<AbortHandle>,
    started: Option<Instant>,
}

/// Held by a task while it runs. Dropping it lets the next call start another run.
#[derive(Debug)]
pub(crate) struct Run {
    background: Arc<BackgroundTask>,
    number: u64,
}

impl BackgroundTask {
    /// Creates a task that is not running yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            created: clock::now(),
            last_active: AtomicU64::new(0),
            lease: Lease::new(),
            run: Mutex::default(),
        })
    }

    /// A lease that is valid while heartbeats are recent, so not after the process was frozen.
    pub(crate) const fn lease(&self) -> Lease {
        self.lease
    }

    /// Whether the task was started and has not ended. It may be suspended.
    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        self.last_active.load(Ordering::Acquire) != 0
    }

    /// Whether the last heartbeat is recent at `now`.
    #[inline]
    pub(crate) fn is_alive_at(&self, now: Instant) -> bool {
        let last_active = self.last_active.load(Ordering::Acquire);
        last_active != 0 && self.stamp(now).saturating_sub(last_active) <= micros(SUSPENDED)
    }

    /// Starts `task` on the current runtime unless one runs. Returns whether it was started.
    ///
    /// A task whose runtime is suspended is replaced. It ends when that runtime resumes.
    pub(crate) fn ensure<T>(self: &Arc<Self>, task: impl FnOnce(Run) -> T) -> bool
    where
        T: Future<Output = ()> + Send + 'static,
    {
        let now = clock::now();
        if self.is_alive_at(now) {
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
            if is_starting || self.is_alive_at(now) {
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
        // Not under the lock, because a runtime that is shutting down drops the task at once.
        let task = runtime.spawn(task(held)).abort_handle();
        let mut run = self.run();
        if run.number == number {
            run.task = Some(task);
        }
        true
    }

    /// Stops the task.
    pub(crate) fn stop(&self) {
        if let Some(task) = self.run().task.take() {
            task.abort();
        }
    }

    /// Microseconds since creation, never 0.
    fn stamp(&self, now: Instant) -> u64 {
        micros(now.saturating_duration_since(self.created)) + 1
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

    /// Whether the task was suspended, or has not recorded a heartbeat yet.
    pub(crate) fn was_suspended(&self) -> bool {
        !self.background.is_alive_at(clock::now())
    }

    /// Records a heartbeat. After a suspension, call this only once stale state has been checked.
    pub(crate) fn resume(&self) {
        self.resume_at(clock::now());
    }

    /// Records a heartbeat unless the task was suspended. A suspension that begins in here stays visible: the heartbeat has
    /// the time of the check.
    pub(crate) fn beat(&self) {
        let now = clock::now();
        if self.background.is_alive_at(now) {
            self.resume_at(now);
        }
    }

    fn resume_at(&self, now: Instant) {
        let run = self.background.run();
        if run.number == self.number {
            let stamp = self.background.stamp(now);
            self.background.last_active.store(stamp, Ordering::Release);
            self.background.lease.renew(now + SUSPENDED);
        }
    }

    /// Ends this run, so that the next call may start another one.
    pub(crate) fn end(&self) {
        let mut run = self.background.run();
        if run.number == self.number {
            (run.task, run.started) = (None, None);
            self.background.last_active.store(0, Ordering::Release);
            self.background.lease.end();
        }
    }

    /// Runs `work` and records heartbeats until a suspension is detected.
    pub(crate) async fn run_with_heartbeat<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            self.beat();
            if let Ok(done) = tokio::time::timeout(HEARTBEAT, work.as_mut()).await {
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

impl fmt::Debug for BackgroundTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundTask")
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
        run.run_with_heartbeat(pending::<()>()).await;
    }

    async fn until_seen(background: &BackgroundTask) {
        while !background.is_alive_at(clock::now()) {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn task_restarts_on_the_callers_runtime_after_its_own_ended() {
        let background = BackgroundTask::new();
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
    fn nothing_starts_outside_of_a_runtime() {
        assert!(!BackgroundTask::new().ensure(beating));
    }

    #[test]
    fn suspended_task_is_replaced_and_ends_when_resumed() {
        let background = BackgroundTask::new();
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
            while background.is_alive_at(clock::now()) {
                tokio::time::sleep(HEARTBEAT).await;
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
    async fn waiting_task_keeps_its_heartbeat() {
        let background = BackgroundTask::new();
        background.ensure(beating);
        until_seen(&background).await;
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(170)).await;
            assert!(background.is_alive_at(clock::now()));
        }
    }
}
