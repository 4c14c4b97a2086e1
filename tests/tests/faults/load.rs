//! Callers that use a client all the time and check every answer.
//!
//! Each caller has a value and a counter of its own and knows what they may hold. A value says whose it is, so
//! an answer that belongs to another call is noticed. A write whose outcome is unknown may appear at any time
//! later, since a stalled server carries out what it finds in its buffers once it goes on.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use cache_core::clock::{self, Instant};
use cache_core::{CacheClient, CacheError, Outcome, Ttl};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tests::until;
use tokio::task::JoinSet;

use crate::lateness::Lateness;
use crate::setup::LIMIT;

/// What a caller rests between two calls, so that clients and servers of several tests fit on two cores.
const REST: Duration = Duration::from_millis(1);

/// What the servers may lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing that was acknowledged.
    Nothing,
    /// The latest writes, as a failover to a replica may that did not have them yet, or all of them.
    Acknowledged,
}

/// Running callers.
#[derive(Debug)]
pub(crate) struct Load {
    callers: JoinSet<Caller>,
    shared: Arc<Shared>,
    lateness: Lateness,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Load {
    /// Starts as many callers as there are `keys`.
    pub(crate) fn start(client: &Arc<dyn CacheClient>, keys: &[String], loss: Loss) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut callers = JoinSet::new();
        for (number, key) in keys.iter().enumerate() {
            let mut caller = Caller::new(key, loss, u64::try_from(number)?);
            let (client, shared) = (Arc::clone(client), Arc::clone(&shared));
            callers.spawn(async move {
                while !shared.stop.load(Ordering::Relaxed) {
                    match caller.turn(&*client).await {
                        true => shared.succeeded.fetch_add(1, Ordering::Relaxed),
                        false => shared.failed.fetch_add(1, Ordering::Relaxed),
                    };
                    tokio::time::sleep(REST).await;
                }
                caller
            });
        }
        Ok(Self {
            callers,
            shared,
            lateness: Lateness::measure()?,
        })
    }

    /// Waits until that many more calls have succeeded.
    pub(crate) async fn until_succeeded(&self, more: u64) -> Result<()> {
        grown(&self.shared.succeeded, more, "calls to succeed").await
    }

    /// Waits until that many more calls have failed.
    pub(crate) async fn until_failed(&self, more: u64) -> Result<()> {
        grown(&self.shared.failed, more, "calls to fail").await
    }

    /// Ends the callers, each after its call; what they saw.
    pub(crate) async fn stop(self) -> Result<Report> {
        self.shared.stop.store(true, Ordering::Relaxed);
        Ok(Report {
            callers: self.callers.join_all().await,
            slack: self.lateness.slack(),
        })
    }
}

async fn grown(count: &AtomicU64, more: u64, what: &str) -> Result<()> {
    let wanted = count.load(Ordering::Relaxed) + more;
    until(LIMIT, what, || async {
        Ok((count.load(Ordering::Relaxed) >= wanted).then_some(()))
    })
    .await
}

/// What callers saw.
#[derive(Debug)]
pub(crate) struct Report {
    callers: Vec<Caller>,
    slack: Duration,
}

/// A call that failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) at: Instant,
    pub(crate) error: CacheError,
}

impl Report {
    /// All calls that failed, in no order.
    pub(crate) fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.callers.iter().flat_map(|caller| &caller.failures)
    }

    /// From the first failure to the end of the last.
    pub(crate) fn window(&self) -> Duration {
        let first = self.failures().map(|failure| failure.at).min();
        let last = self.failures().map(|failure| failure.at).max();
        match (first, last) {
            (Some(first), Some(last)) => last.saturating_duration_since(first),
            _ => Duration::ZERO,
        }
    }

    /// What to print: calls, failures by kind, the window, the slowest call.
    pub(crate) fn summary(&self) -> String {
        let calls: u64 = self.callers.iter().map(|caller| caller.calls).sum();
        let mut kinds: Vec<(String, usize)> = Vec::new();
        for failure in self.failures() {
            let kind = match &failure.error {
                CacheError::Unavailable { reason, .. } => reason.to_string(),
                other => other.kind().to_owned(),
            };
            match kinds.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, count)) => *count += 1,
                None => kinds.push((kind, 1)),
            }
        }
        let mut text = format!(
            "{calls} calls, {} errors within {:?}, slowest call {:?} (machine late by {:?})",
            self.failures().count(),
            self.window(),
            self.slowest(),
            self.slack
        );
        for (kind, count) in kinds {
            // Writing to a string does not fail.
            let _ = write!(text, "; {kind}: {count}");
        }
        text
    }

    /// What a bound on time is extended by, see [`Lateness::slack`].
    pub(crate) fn slack(&self) -> Duration {
        self.slack
    }

    pub(crate) fn slowest(&self) -> Duration {
        self.callers
            .iter()
            .map(|caller| caller.slowest)
            .max()
            .unwrap_or_default()
    }

    /// Fails where an answer was wrong, or a call took longer than its deadline and the slack.
    pub(crate) fn check(&self, deadline: Duration) {
        for caller in &self.callers {
            assert!(caller.wrong.is_empty(), "{}: {:?}", caller.key, caller.wrong);
        }
        let bound = deadline + self.slack;
        assert!(
            self.slowest() <= bound,
            "a call outlived its deadline: {:?} > {bound:?}",
            self.slowest()
        );
    }

    /// Reads all counters and values: what was acknowledged is there, and nothing that was never tried.
    pub(crate) async fn settle(&mut self, client: &dyn CacheClient) {
        for caller in &mut self.callers {
            caller.read(client).await;
            caller.count(client).await;
            assert!(caller.wrong.is_empty(), "{}: {:?}", caller.key, caller.wrong);
        }
    }
}

/// One caller: what it owns, what it knows, what it saw.
#[derive(Debug)]
struct Caller {
    key: String,
    counter: String,
    loss: Loss,
    random: SmallRng,
    /// Number of the last value that was tried, and of the last one that was acknowledged; 0 is none.
    tried: u64,
    stored: u64,
    /// Values that may appear at any time.
    open: HashSet<u64>,
    /// Increments that were acknowledged, and those that may have been done.
    counted: i64,
    maybe_counted: i64,
    calls: u64,
    failures: Vec<Failure>,
    slowest: Duration,
    wrong: Vec<String>,
}

impl Caller {
    fn new(key: &str, loss: Loss, seed: u64) -> Self {
        Self {
            key: key.to_owned(),
            counter: format!("{key}:counter"),
            loss,
            random: SmallRng::seed_from_u64(seed),
            tried: 0,
            stored: 0,
            open: HashSet::new(),
            counted: 0,
            maybe_counted: 0,
            calls: 0,
            failures: Vec::new(),
            slowest: Duration::ZERO,
            wrong: Vec::new(),
        }
    }

    /// One call; whether it had a result.
    async fn turn(&mut self, client: &dyn CacheClient) -> bool {
        match self.random.random_range(0..10) {
            0..4 => self.read(client).await,
            4..7 => self.write(client).await,
            7..9 => self.count(client).await,
            _ => self.read_both(client).await,
        }
    }

    async fn write(&mut self, client: &dyn CacheClient) -> bool {
        self.tried += 1;
        let value = format!("{}={}", self.key, self.tried);
        let started = clock::now();
        let result = client.set(&self.key, value.into(), Ttl::Forever).await;
        match self.note(started, result) {
            Ok(()) => self.stored = self.tried,
            Err(Outcome::Unknown) => {
                self.open.insert(self.tried);
                return false;
            }
            Err(Outcome::NotApplied) => return false,
        }
        true
    }

    async fn read(&mut self, client: &dyn CacheClient) -> bool {
        let started = clock::now();
        let result = match client.get(&self.key).await {
            Ok(value) => Ok(Some(value)),
            Err(CacheError::Miss) => Ok(None),
            Err(error) => Err(error),
        };
        let Ok(value) = self.note(started, result) else {
            return false;
        };
        self.check_value(value.as_deref());
        true
    }

    async fn count(&mut self, client: &dyn CacheClient) -> bool {
        let started = clock::now();
        let result = client.incr(&self.counter).await;
        match self.note(started, result) {
            Ok(count) => {
                self.counted += 1;
                self.check_count(count);
            }
            Err(Outcome::Unknown) => {
                self.maybe_counted += 1;
                return false;
            }
            Err(Outcome::NotApplied) => return false,
        }
        true
    }

    async fn read_both(&mut self, client: &dyn CacheClient) -> bool {
        let started = clock::now();
        let keys = [self.counter.clone(), self.key.clone()];
        let result = client.get_many(&[&keys[0], &keys[1]]).await;
        let Ok(values) = self.note(started, result) else {
            return false;
        };
        let [count, value] = &values[..] else {
            self.wrong.push(format!("{} answers to two keys", values.len()));
            return true;
        };
        match count {
            None if self.counted == 0 || self.loss == Loss::Acknowledged => {}
            None => self.wrong.push("the counter is gone".to_owned()),
            Some(count) => match std::str::from_utf8(count).ok().and_then(|text| text.parse().ok()) {
                Some(count) => self.check_count(count),
                None => self.wrong.push("the counter is no number".to_owned()),
            },
        }
        self.check_value(value.as_deref());
        true
    }

    fn check_value(&mut self, value: Option<&[u8]>) {
        let number = match value {
            None => 0,
            Some(value) => {
                let own = std::str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.strip_prefix(&self.key)?.strip_prefix('=')?.parse().ok());
                match own {
                    Some(number) => number,
                    None => {
                        self.wrong
                            .push(format!("another's value: {}", String::from_utf8_lossy(value)));
                        return;
                    }
                }
            }
        };
        let fits = match self.loss {
            Loss::Nothing => number == self.stored || self.open.contains(&number),
            Loss::Acknowledged => number <= self.tried,
        };
        if !fits {
            self.wrong
                .push(format!("value {number}, stored was {}", self.stored));
        }
    }

    fn check_count(&mut self, count: i64) {
        let least = match self.loss {
            Loss::Nothing => self.counted,
            Loss::Acknowledged => 1,
        };
        let most = self.counted + self.maybe_counted;
        if !(least..=most).contains(&count) {
            self.wrong
                .push(format!("counted to {count}, expected {least} to {most}"));
        }
    }

    /// Takes a call's time, and its error where it failed.
    fn note<T>(&mut self, started: Instant, result: Result<T, CacheError>) -> Result<T, Outcome> {
        self.calls += 1;
        self.slowest = self.slowest.max(started.elapsed());
        result.map_err(|error| {
            let outcome = error.outcome();
            self.failures.push(Failure {
                at: clock::now(),
                error,
            });
            outcome
        })
    }
}
