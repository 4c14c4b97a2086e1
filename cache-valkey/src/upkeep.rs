//! Keeps what a client knows of its servers up to date: what hints at a change, and the task that looks.
//!
//! The task belongs to no runtime for good (`background.rs`); when it looks is in `schedule.rs`, and outlasts it.
//!
//! Not in here: what a look is. A cluster is surveyed (`cluster/refresh.rs`); behind sentinels, and for replicas that a
//! primary names, `follow.rs` looks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::clock::{self, Instant};
use rand::Rng as _;
use tokio::sync::{Notify, watch};

use crate::background::{Background, Run};
use crate::deadline::Deadline;
use crate::schedule::{Outlook, Schedule};

/// How long a call waits at most for the look of a task that has just been started again.
const CATCH_UP: Duration = Duration::from_secs(1);

/// What is known is up to date if the last look began less than this ago.
const RECENT: Duration = Duration::from_secs(1);

/// What a failing call tells of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    /// Something has changed: a slot has moved, a connection was lost, a primary takes no writes.
    News,
    /// A server cannot be used, which may be known already. It brings no look while an outage is being looked into.
    Outage,
}

/// Keeps what is known of the servers up to date.
#[derive(Debug)]
pub(crate) struct Upkeep {
    background: Arc<Background>,
    schedule: Mutex<Schedule>,
    has_news: AtomicBool,
    has_outage: AtomicBool,
    hinted: Notify,
    /// Whether nobody looked for as long as no runtime ran the task.
    is_outdated: AtomicBool,
    /// How many looks have ended.
    looks: watch::Sender<u64>,
}

impl Upkeep {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            background: Background::new(),
            schedule: Mutex::new(Schedule::new(clock::now())),
            has_news: AtomicBool::new(false),
            has_outage: AtomicBool::new(false),
            hinted: Notify::new(),
            is_outdated: AtomicBool::new(false),
            looks: watch::Sender::new(0),
        })
    }

    /// Whether the task was started and has not ended.
    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        self.background.is_running()
    }

    /// Starts `task` on the current runtime unless it runs. Its first look is at once, unless the last one was a moment
    /// ago.
    pub(crate) fn ensure<T>(&self, task: impl FnOnce(Run) -> T, now: Instant)
    where
        T: Future<Output = ()> + Send + 'static,
    {
        if self.background.is_seen(now) {
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

    /// A call met something that hints at a change; however many do, they are one.
    pub(crate) fn hint(&self, hint: Hint) {
        let flag = match hint {
            Hint::News => &self.has_news,
            Hint::Outage => &self.has_outage,
        };
        if !flag.load(Ordering::Relaxed) && !flag.swap(true, Ordering::AcqRel) {
            self.hinted.notify_one();
        }
    }

    /// What is known is older than it should be, and a look is due.
    pub(crate) fn outdate(&self) {
        self.is_outdated.store(true, Ordering::Release);
        self.hinted.notify_one();
    }

    /// Waits for the look that is due because nobody looked for a while; whether there was one. Returns at once if what
    /// is known is up to date.
    pub(crate) async fn catch_up(&self, deadline: Deadline) -> bool {
        if !self.is_outdated.load(Ordering::Acquire) {
            return false;
        }
        let mut looks = self.looks.subscribe();
        if !self.is_outdated.load(Ordering::Acquire) {
            return true;
        }
        let until = deadline.at().min(clock::now() + CATCH_UP);
        tokio::time::timeout_at(until, looks.changed()).await.is_ok()
    }

    /// Waits until a look is due because of a hint. The pause until it may begin is not part of it.
    pub(crate) async fn wanted(&self) {
        while !self.is_wanted() {
            self.hinted.notified().await;
        }
    }

    /// Whether a look is due because of a hint.
    pub(crate) fn is_wanted(&self) -> bool {
        let now = clock::now();
        let mut schedule = self.schedule();
        let has_news = self.has_news.swap(false, Ordering::AcqRel);
        // Left as it is while an outage is looked into, so that further ones wake nobody.
        let has_outage = !schedule.is_failing() && self.has_outage.load(Ordering::Acquire);
        if has_news || has_outage || (self.is_outdated.load(Ordering::Acquire) && !schedule.is_wanted()) {
            schedule.want(now);
        }
        schedule.is_wanted()
    }

    /// Something other than a call hints at a change.
    pub(crate) fn want(&self) {
        self.schedule().want(clock::now());
    }

    /// When the next look may begin.
    pub(crate) fn due(&self) -> Instant {
        self.schedule().due()
    }

    /// Whether an outage is being looked into, and for how long.
    pub(crate) fn outage(&self) -> Option<Duration> {
        let schedule = self.schedule();
        schedule.is_failing().then(|| schedule.failing_for(clock::now()))
    }

    /// A look begins.
    pub(crate) fn begin(&self) {
        self.has_news.store(false, Ordering::Release);
        self.schedule().begin(clock::now());
    }

    /// It has ended.
    pub(crate) fn end(&self, outlook: Outlook) {
        self.schedule().end(outlook, rand::rng().random(), clock::now());
        if outlook == Outlook::Well {
            self.has_outage.store(false, Ordering::Release);
        }
        self.is_outdated.store(false, Ordering::Release);
        self.looks.send_modify(|looks| *looks += 1);
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
        let upkeep = Upkeep::new();
        upkeep.end(outlook);
        let looking = Arc::clone(&upkeep);
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
            upkeep.hint(hint);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        task.abort();
        *upkeep.looks.borrow() - 1
    }

    #[tokio::test(start_paused = true)]
    async fn failing_calls_bring_no_look_while_an_outage_is_looked_into() {
        let minute = Duration::from_secs(60);
        assert!(looks(Hint::Outage, Outlook::Watched, minute).await <= 15);
        let news = looks(Hint::News, Outlook::Watched, minute).await;
        assert!((30..60).contains(&news), "{news}");
        let unexplained = looks(Hint::Outage, Outlook::Well, minute).await;
        assert!((30..60).contains(&unexplained), "{unexplained}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_for_the_first_look_after_a_pause_and_for_no_other() {
        let upkeep = Upkeep::new();
        let deadline = || Deadline::after(Duration::from_secs(5));
        assert!(!upkeep.catch_up(deadline()).await);
        upkeep.outdate();
        let began = clock::now();
        assert!(!upkeep.catch_up(deadline()).await, "none came");
        assert_eq!(clock::now() - began, CATCH_UP);
        let looking = Arc::clone(&upkeep);
        tokio::spawn(async move {
            looking.wanted().await;
            looking.begin();
            looking.end(Outlook::Well);
        });
        assert!(upkeep.catch_up(deadline()).await);
        assert!(!upkeep.catch_up(deadline()).await);
    }
}
