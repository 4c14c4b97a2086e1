//! Routes commands to one primary and its replicas, with retries.
//!
//! The primary may be fixed or may change (sentinels). Not in here: finding it, see `primary_discovery.rs`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use cache_core::clock::{self, Instant};
use cache_core::config::{Address, ReadFrom};
use cache_core::{CacheError, Outcome, Unavailability};

use crate::command::{Command, Effect};
use crate::deadline::Deadline;
use crate::error::from_server;
use crate::node::{Link, Node};
use crate::primary_discovery::Discovery;
use crate::refresher::{Hint, Refresher};
use crate::reply::Reply;
use crate::retry::Attempts;
use crate::tracking::{Answers, Feed};

/// One primary and its replicas.
#[derive(Debug)]
pub(crate) struct Single {
    primary: ArcSwapOption<Node>,
    replicas: ArcSwap<Vec<Arc<Node>>>,
    read_from: ReadFrom,
    max_retries: u32,
    turn: AtomicUsize,
    closed: AtomicBool,
    feed: Arc<Feed>,
    /// The discovery task, and what starts it, if the servers may change.
    refresher: Arc<Refresher>,
    discovery: OnceLock<(Weak<Self>, Discovery)>,
}

impl Single {
    pub(crate) fn new(
        primary: Option<Arc<Node>>,
        read_from: ReadFrom,
        max_retries: u32,
        feed: Arc<Feed>,
    ) -> Self {
        Self {
            primary: ArcSwapOption::new(primary),
            replicas: ArcSwap::default(),
            read_from,
            max_retries,
            turn: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            feed,
            refresher: Refresher::new(),
            discovery: OnceLock::new(),
        }
    }

    /// Starts repeated discovery; the first one was a moment ago.
    pub(crate) fn start_discovery(self: &Arc<Self>, discovery: Discovery) {
        let _ = self.discovery.set((Arc::downgrade(self), discovery));
        self.ensure_refreshing(clock::now());
    }

    /// Starts the discovery task unless it runs, for example after the end of its runtime.
    pub(crate) fn ensure_refreshing(&self, now: Instant) {
        if let Some((me, discovery)) = self.discovery.get()
            && !self.is_closed()
        {
            self.refresher
                .ensure(|run| discovery.run(me, &self.refresher, run), now);
        }
    }

    fn is_discovery_running(&self) -> bool {
        self.discovery.get().is_none() || self.refresher.is_running()
    }

    /// Records a failed call as a hint at a change. A missed deadline is no hint, because the server may have
    /// been slow.
    fn note_failure(&self, error: &CacheError) {
        if let CacheError::Unavailable { reason, .. } = error {
            self.refresher.hint(match reason {
                Unavailability::Lost | Unavailability::NotReady => Hint::Change,
                _ => Hint::Outage,
            });
        }
    }

    /// Sends a command, with retries. A final refusal stays a [`Reply::Error`]. `first` is the outcome of the
    /// first attempt, if there was one.
    pub(crate) async fn send(
        &self,
        command: &Command<'_>,
        deadline: Deadline,
        mut first: Option<Result<Reply, CacheError>>,
    ) -> Result<Reply, CacheError> {
        self.ensure_refreshing(deadline.started_at());
        let mut tries = Attempts::default();
        loop {
            let result = match first.take() {
                Some(result) => result,
                None => {
                    let node = self.node_for(command.effect(), &tries, deadline).await?;
                    node.send(command, deadline).await
                }
            };
            let error = match result {
                Ok(Reply::Error(refusal)) => {
                    let error = from_server(&refusal, command.name());
                    if !error.is_transient() {
                        return Ok(Reply::Error(refusal));
                    }
                    error
                }
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            self.pause_before_repeating(command.effect(), error, &mut tries, deadline)
                .await?;
        }
    }

    /// Sends commands as one pipeline. Refusals stay among the replies. A lost pipeline is sent again if all
    /// of its commands may be.
    pub(crate) async fn send_batch(
        &self,
        commands: &[Command<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Reply>, CacheError> {
        self.ensure_refreshing(deadline.started_at());
        let effect = commands.iter().map(Command::effect).max().unwrap_or(Effect::Read);
        let borrowed: Vec<_> = commands.iter().collect();
        let mut tries = Attempts::default();
        loop {
            let node = self.node_for(effect, &tries, deadline).await?;
            let error = match node.send_batch(&borrowed, deadline).await {
                Ok(replies) => match first_transient(&replies, &borrowed) {
                    Some(error) => error,
                    None => return Ok(replies),
                },
                Err(error) => error,
            };
            self.pause_before_repeating(effect, error, &mut tries, deadline)
                .await?;
        }
    }

    /// Sends commands as one pipeline, with a result for each. Commands that were lost or temporarily refused
    /// are sent again together, each as often as allowed.
    pub(crate) async fn send_each(
        &self,
        commands: &[Command<'_>],
        deadline: Deadline,
    ) -> Vec<Result<Reply, CacheError>> {
        self.ensure_refreshing(deadline.started_at());
        let mut results: Vec<Result<Reply, CacheError>> = vec![Ok(Reply::Nil); commands.len()];
        let mut pending: Vec<(usize, Attempts)> = (0..commands.len())
            .map(|place| (place, Attempts::default()))
            .collect();
        while let Some((first, tries)) = pending.first() {
            let sent: Vec<&Command<'_>> = pending.iter().map(|(place, _)| &commands[*place]).collect();
            let answers = match self.node_for(commands[*first].effect(), tries, deadline).await {
                Ok(node) => node.send_each(&sent, deadline).await,
                Err(error) => std::iter::repeat_n(error, sent.len()).map(Err).collect(),
            };
            let mut wait = Duration::ZERO;
            let mut again = Vec::new();
            for ((place, mut tries), answer) in std::mem::take(&mut pending).into_iter().zip(answers) {
                let command = &commands[place];
                let error = match answer {
                    Ok(Reply::Error(refusal)) => match from_server(&refusal, command.name()) {
                        error if error.is_transient() => error,
                        _ => {
                            results[place] = Ok(Reply::Error(refusal));
                            continue;
                        }
                    },
                    Ok(reply) => {
                        results[place] = Ok(reply);
                        continue;
                    }
                    Err(error) => error,
                };
                self.note_failure(&error);
                let has_choice = command.reads() && self.read_from != ReadFrom::Primary;
                match tries.next(
                    command.effect(),
                    has_choice,
                    error,
                    self.max_retries,
                    deadline.remaining(),
                ) {
                    Ok(delay) => {
                        wait = wait.max(delay);
                        again.push((place, tries));
                    }
                    Err(error) => results[place] = Err(error),
                }
            }
            if !again.is_empty() {
                tokio::time::sleep(wait).await;
            }
            pending = again;
        }
        results
    }

    /// Sends reads of one key as one pipeline to the primary, so that a change of the key is reported.
    pub(crate) async fn send_tracked(
        &self,
        reads: &[Command<'_>],
        deadline: Deadline,
    ) -> Result<Answers, CacheError> {
        self.ensure_refreshing(deadline.started_at());
        let borrowed: Vec<_> = reads.iter().collect();
        let mut tries = Attempts::default();
        loop {
            let primary = self.known(deadline, || self.primary()).await;
            let node = primary.map_err(|error| tries.end(error))?;
            let error = match node.send_tracked(&borrowed, deadline).await {
                Ok(mut answers) => match first_transient(&answers.replies, &borrowed) {
                    Some(error) => error,
                    None => {
                        // A primary that was replaced in the meantime does not report changes.
                        let replaced = |primary: Arc<Node>| !Arc::ptr_eq(&primary, &node);
                        if self.primary().is_ok_and(replaced) {
                            answers.vouch = None;
                        }
                        return Ok(answers);
                    }
                },
                Err(error) => error,
            };
            let primary_only = false;
            self.pause(Effect::Read, primary_only, error, &mut tries, deadline)
                .await?;
        }
    }

    /// Waits before the next attempt, or ends the call with `error`.
    async fn pause_before_repeating(
        &self,
        effect: Effect,
        error: CacheError,
        tries: &mut Attempts,
        deadline: Deadline,
    ) -> Result<(), CacheError> {
        let has_choice = effect == Effect::Read && self.read_from != ReadFrom::Primary;
        self.pause(effect, has_choice, error, tries, deadline).await
    }

    async fn pause(
        &self,
        effect: Effect,
        has_choice: bool,
        error: CacheError,
        tries: &mut Attempts,
        deadline: Deadline,
    ) -> Result<(), CacheError> {
        self.note_failure(&error);
        let is_unreachable = matches!(
            error,
            CacheError::Unavailable {
                reason: Unavailability::Connect | Unavailability::Resolve,
                ..
            }
        );
        // If the discovery task was suspended, the primary may have changed.
        if is_unreachable && self.refresher.wait_if_outdated(deadline).await {
            return Ok(());
        }
        let delay = tries.next(effect, has_choice, error, self.max_retries, deadline.remaining())?;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        Ok(())
    }

    /// A ready connection for the first attempt of a command, if there is one.
    pub(crate) fn ready_connection(&self, effect: Effect, now: Instant) -> Option<Arc<Link>> {
        if !self.is_discovery_running() {
            return None;
        }
        if effect == Effect::Read && self.read_from != ReadFrom::Primary {
            return self.replica()?.ready_link(now);
        }
        self.primary.load().as_ref()?.ready_link(now)
    }

    async fn node_for(
        &self,
        effect: Effect,
        tries: &Attempts,
        deadline: Deadline,
    ) -> Result<Arc<Node>, CacheError> {
        let find = || match (effect, self.read_from) {
            (Effect::Read, ReadFrom::Replica) => self.replica().ok_or_else(no_replica),
            (Effect::Read, ReadFrom::PreferReplica) if !tries.was_repeated() => {
                self.replica().map_or_else(|| self.primary(), Ok)
            }
            _ => self.primary(),
        };
        self.known(deadline, find).await.map_err(|error| tries.end(error))
    }

    /// The result of `find`, repeated after the pending discovery if it fails and the discovery task was
    /// suspended.
    async fn known(
        &self,
        deadline: Deadline,
        find: impl Fn() -> Result<Arc<Node>, CacheError>,
    ) -> Result<Arc<Node>, CacheError> {
        match find() {
            Err(error) => {
                self.refresher.hint(Hint::Outage);
                if self.refresher.wait_if_outdated(deadline).await {
                    find()
                } else {
                    Err(error)
                }
            }
            found => found,
        }
    }

    /// The primary, if known.
    pub(crate) fn primary(&self) -> Result<Arc<Node>, CacheError> {
        self.primary.load_full().ok_or_else(no_primary)
    }

    /// The known replicas.
    pub(crate) fn replicas(&self) -> Arc<Vec<Arc<Node>>> {
        self.replicas.load_full()
    }

    /// The next replica that can answer reads. If reads must go to a replica, one in cooldown may be used.
    fn replica(&self) -> Option<Arc<Node>> {
        let replicas = self.replicas.load();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = || (0..replicas.len()).map(|step| &replicas[turn.wrapping_add(step) % replicas.len()]);
        let fit = in_turn().find(|node| node.can_answer_reads());
        let any = || in_turn().find(|node| self.read_from == ReadFrom::Replica && !node.is_down());
        fit.or_else(any).map(Arc::clone)
    }

    /// Sets another primary. Calls in flight on the old one continue.
    pub(crate) fn set_primary(&self, node: Arc<Node>) {
        let replaces = self.primary.load().is_some();
        if replaces {
            self.feed.invalidate_everything();
        }
        self.primary.store(Some(node));
        if replaces {
            // Again, for reads from the old primary in between.
            self.feed.invalidate_everything();
        }
    }

    /// Sets other replicas.
    pub(crate) fn set_replicas(&self, nodes: Vec<Arc<Node>>) {
        self.replicas.store(Arc::new(nodes));
    }

    /// Pings the primary. Fails if a replica answers instead.
    pub(crate) async fn ping(&self, deadline: Deadline) -> Result<(), CacheError> {
        self.ensure_refreshing(deadline.started_at());
        let ping = Command::read("PING");
        let primary = self.known(deadline, || self.primary()).await?;
        let answered = match primary.ask(&[&ping], deadline).await {
            Ok(_) if primary.is_replica() => {
                primary.suspect();
                Err(only_a_replica(primary.address()))
            }
            answered => answered,
        };
        // A failed ping also hints at a change.
        let replies = answered.inspect_err(|error| self.note_failure(error))?;
        let mut replies = replies.into_iter();
        replies.try_for_each(|reply| crate::error::accept(reply, ping.name()).map(drop))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        if let Some(primary) = self.primary.load_full() {
            primary.close();
        }
        for replica in self.replicas.load().iter() {
            replica.close();
        }
        self.refresher.stop();
        if let Some((_, discovery)) = self.discovery.get() {
            discovery.close();
        }
    }

    pub(crate) const fn read_from(&self) -> ReadFrom {
        self.read_from
    }
}

fn first_transient(replies: &[Reply], commands: &[&Command<'_>]) -> Option<CacheError> {
    replies
        .iter()
        .zip(commands)
        .find_map(|(reply, command)| match reply {
            Reply::Error(refusal) => {
                Some(from_server(refusal, command.name())).filter(CacheError::is_transient)
            }
            _ => None,
        })
}

fn no_primary() -> CacheError {
    CacheError::Unavailable {
        reason: Unavailability::NotReady,
        detail: "no primary is known at the moment".into(),
        outcome: Outcome::NotApplied,
        source: None,
    }
}

/// The error if a replica answers at the primary's address.
pub(crate) fn only_a_replica(address: &Address) -> CacheError {
    CacheError::Unavailable {
        reason: Unavailability::NotReady,
        detail: format!(
            "{address} leads to a replica, which takes no writes; no primary is known at the moment"
        )
        .into(),
        outcome: Outcome::NotApplied,
        source: None,
    }
}

fn no_replica() -> CacheError {
    CacheError::Unavailable {
        reason: Unavailability::NotReady,
        detail: "no replica can be reached; CACHE_READ_FROM=prefer-replica reads from the primary then"
            .into(),
        outcome: Outcome::NotApplied,
        source: None,
    }
}
