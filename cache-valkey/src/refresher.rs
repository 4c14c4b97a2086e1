//! Runs the background task that refreshes the topology, and collects hints at changes.
//!
//! The task can move between runtimes (`background.rs`). `schedule.rs` decides when it refreshes.
//!
//! Not in here: how to refresh, see `cluster/refresh.rs` for a cluster and `primary_discovery.rs` for
//! sentinels, several addresses and replicas.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::clock::{self, Instant};
use rand::Rng as _;
use tokio::sync::{Notify, watch};

use crate::background::{BackgroundTask, Run};
use crate::deadline::Deadline;
use crate::schedule::{Outlook, Schedule};

/// How long a call waits at most for the first refresh after a suspension.
const OUTDATED_WAIT: Duration = Duration::from_secs(1);

/// The topology is up to date if the last refresh began less than this ago.
const RECENT: Duration = Duration::from_secs(1);

/// What a failed call hints at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    /// A change: a slot has moved, a connection was lost, a primary takes no writes.
    Change,
    /// A server that is down, which may be known already. It requests no refresh while an outage is being
    /// handled.
    Outage,
}

/// Refreshes the topology in the background.
#[derive(Debug)]
pub(crate) struct Refresher {
    background: Arc<BackgroundTask>,
    schedule: Mutex<Schedule>,
    has_change: AtomicBool,
    has_outage: AtomicBool,
    hinted: Notify,
    /// Whether the topology is outdated because the task was suspended.
    is_outdated: AtomicBool,
    /// How many refreshes have ended.
    refreshes: watch::Sender<u64>,
}

impl Refresher {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            background: BackgroundTask::new(),
            schedule: Mutex::new(Schedule::new(clock::now())),
            has_change: AtomicBool::new(false),
            has_outage: AtomicBool::new(false),
            hinted: Notify::new(),
            is_outdated: AtomicBool::new(false),
            refreshes: watch::Sender::new(0),
        })
    }

    /// Whether the task was started and has not ended.
    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        self.background.is_running()
    }

    /// Starts `task` on the current runtime unless it runs. It refreshes at once, unless the last refresh was
    /// a moment ago.
    pub(crate) fn ensure<T>(&self, task: impl FnOnce(Run) -> T, now: Instant)
    where
        T: Future<Output = ()> + Send + 'static,
    {
        if self.background.is_alive_at(now) {
            return;
        }
        let _ = self.background.ensure(|run| {
            if !self.schedule().is_recent(RECENT, clock::now()) {
                self.outdate();
            }
            task(run)
        });
    }

    /// Ends the task.
    pub(crate) fn stop(&self) {
        self.background.stop();
    }

    /// Records a hint from a call. Any number of hints count as one.
    pub(crate) fn hint(&self, hint: Hint) {
        let flag = match hint {
            Hint::Change => &self.has_change,
            Hint::Outage => &self.has_outage,
        };
        if !flag.load(Ordering::Relaxed) && !flag.swap(true, Ordering::AcqRel) {
            self.hinted.notify_one();
        }
    }

    /// Marks the topology as outdated, so that a refresh is due.
    pub(crate) fn outdate(&self) {
        self.is_outdated.store(true, Ordering::Release);
        self.hinted.notify_one();
    }

    /// Waits for the pending refresh if the topology is outdated. Returns whether there was one; returns at
    /// once if the topology is up to date.
    pub(crate) async fn wait_if_outdated(&self, deadline: Deadline) -> bool {
        if !self.is_outdated.load(Ordering::Acquire) {
            return false;
        }
        let mut refreshes = self.refreshes.subscribe();
        if !self.is_outdated.load(Ordering::Acquire) {
            return true;
        }
        let until = deadline.at().min(clock::now() + OUTDATED_WAIT);
        tokio::time::timeout_at(until, refreshes.changed()).await.is_ok()
    }

    /// Waits until a hint requests a refresh. Does not include the pause until it may begin.
    pub(crate) async fn wanted(&self) {
        while !self.is_wanted() {
            self.hinted.notified().await;
        }
    }

    /// Whether a hint requests a refresh.
    pub(crate) fn is_wanted(&self) -> bool {
        let now = clock::now();
        let mut schedule = self.schedule();
        let has_change = self.has_change.swap(false, Ordering::AcqRel);
        // Kept during an outage, so that further hints do not wake the task.
        let has_outage = !schedule.is_failing() && self.has_outage.load(Ordering::Acquire);
        if has_change || has_outage || (self.is_outdated.load(Ordering::Acquire) && !schedule.is_wanted()) {
            schedule.want(now);
        }
        schedule.is_wanted()
    }

    /// Requests a refresh for another reason than a failed call.
    pub(crate) fn want(&self) {
        self.schedule().want(clock::now());
    }

    /// When the next refresh may begin.
    pub(crate) fn due(&self) -> Instant {
        self.schedule().due()
    }

    /// How long the current outage has lasted, if there is one.
    pub(crate) fn outage(&self) -> Option<Duration> {
        let schedule = self.schedule();
        schedule.is_failing().then(|| schedule.failing_for(clock::now()))
    }

    /// Records the start of a refresh.
    pub(crate) fn begin(&self) {
        self.has_change.store(false, Ordering::Release);
        self.schedule().begin(clock::now());
    }

    /// Records the end of a refresh.
    pub(crate) fn end(&self, outlook: Outlook) {
        self.schedule().end(outlook, rand::rng().random(), clock::now());
        if outlook == Outlook::Healthy {
            self.has_outage.store(false, Ordering::Release);
        }
        self.is_outdated.store(false, Ordering::Release);
        self.refreshes.send_modify(|refreshes| *refreshes += 1);
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks that a task like ours takes within `time`, while `hint` comes every millisecond.
    async fn looks(hint: Hint, outlook: Outlook, time: Duration) -> u64 {
        let refresher = Refresher::new();
        refresher.end(outlook);
        let looking = Arc::clone(&refresher);
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = looking.wanted() => {}
                    () = tokio::time::sleep_until(looking.due()) => {}
                }
                tokio::time::sleep_until(looking.due()).await;
                looking.begin();
                looking.end(outlook);
            }
        });
        let until = clock::now() + time;
        while clock::now() < until {
            refresher.hint(hint);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        task.abort();
        *refresher.refreshes.borrow() - 1
    }

    #[tokio::test(start_paused = true)]
    async fn failing_calls_request_no_refresh_during_an_outage() {
        let minute = Duration::from_secs(60);
        assert!(looks(Hint::Outage, Outlook::OutageReported, minute).await <= 15);
        let news = looks(Hint::Change, Outlook::OutageReported, minute).await;
        assert!((30..60).contains(&news), "{news}");
        let unexplained = looks(Hint::Outage, Outlook::Healthy, minute).await;
        assert!((30..60).contains(&unexplained), "{unexplained}");
    }

    #[tokio::test(start_paused = true)]
    async fn call_waits_only_for_the_first_refresh_after_a_suspension() {
        let refresher = Refresher::new();
        let deadline = || Deadline::after(Duration::from_secs(5));
        assert!(!refresher.wait_if_outdated(deadline()).await);
        refresher.outdate();
        let began = clock::now();
        assert!(!refresher.wait_if_outdated(deadline()).await, "none came");
        assert_eq!(clock::now() - began, OUTDATED_WAIT);
        let looking = Arc::clone(&refresher);
        tokio::spawn(async move {
            looking.wanted().await;
            looking.begin();
            looking.end(Outlook::Healthy);
        });
        assert!(refresher.wait_if_outdated(deadline()).await);
        assert!(!refresher.wait_if_outdated(deadline()).await);
    }
}
