//! One primary and its replicas: where a command goes, and whether it goes again.
//!
//! Who the primary is may be fixed or may change (sentinels); `follow.rs` finds out and puts it in here.

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
use crate::follow::Following;
use crate::node::{Link, Node};
use crate::reply::Reply;
use crate::retry::Tries;
use crate::tracking::{Answers, Feed};
use crate::upkeep::{Hint, Upkeep};

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
    /// The task that looks who is who, and what starts it, where the servers may change.
    upkeep: Arc<Upkeep>,
    following: OnceLock<(Weak<Self>, Following)>,
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
            upkeep: Upkeep::new(),
            following: OnceLock::new(),
        }
    }

    /// Looks again and again who is who, from now on; the first look was a moment ago.
    pub(crate) fn follow(self: &Arc<Self>, following: Following) {
        let _ = self.following.set((Arc::downgrade(self), following));
        self.revive(clock::now());
    }

    /// Starts the task that looks where it does not run, as after the end of the runtime that it ran on.
    pub(crate) fn revive(&self, now: Instant) {
        if let Some((me, following)) = self.following.get()
            && !self.is_closed()
        {
            self.upkeep
                .ensure(|run| following.follow(me, &self.upkeep, run), now);
        }
    }

    fn is_followed(&self) -> bool {
        self.following.get().is_none() || self.upkeep.is_running()
    }

    /// Notes what a failed call tells of the servers. A deadline that passed tells nothing: the server may have been slow.
    fn take_note(&self, error: &CacheError) {
        if let CacheError::Unavailable { reason, .. } = error {
            self.upkeep.hint(match reason {
                Unavailability::Lost | Unavailability::NotReady => Hint::News,
                _ => Hint::Outage,
            });
        }
    }

    /// Sends a command to where it belongs, again where that is allowed. A refusal that is final stays a
    /// [`Reply::Error`]. `first` is what came of the first try, if there was one.
    pub(crate) async fn send(
        &self,
        command: &Command<'_>,
        deadline: Deadline,
        mut first: Option<Result<Reply, CacheError>>,
    ) -> Result<Reply, CacheError> {
        self.revive(deadline.begun());
        let mut tries = Tries::default();
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

    /// Sends commands as one pipeline. Refusals stay in their places; a pipeline that was lost goes again
    /// where every command of it may.
    pub(crate) async fn send_batch(
        &self,
        commands: &[Command<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Reply>, CacheError> {
        self.revive(deadline.begun());
        let effect = commands.iter().map(Command::effect).max().unwrap_or(Effect::Read);
        let borrowed: Vec<_> = commands.iter().collect();
        let mut tries = Tries::default();
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

    /// Sends commands as one pipeline; a result for each. Those that were lost or refused for now go again together, each
    /// as often as it may.
    pub(crate) async fn send_each(
        &self,
        commands: &[Command<'_>],
        deadline: Deadline,
    ) -> Vec<Result<Reply, CacheError>> {
        self.revive(deadline.begun());
        let mut results: Vec<Result<Reply, CacheError>> = vec![Ok(Reply::Nil); commands.len()];
        let mut pending: Vec<(usize, Tries)> = (0..commands.len())
            .map(|place| (place, Tries::default()))
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
                self.take_note(&error);
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

    /// Sends reads as one pipeline to the primary, so that a change of their key is reported.
    pub(crate) async fn send_tracked(
        &self,
        reads: &[Command<'_>],
        deadline: Deadline,
    ) -> Result<Answers, CacheError> {
        self.revive(deadline.begun());
        let borrowed: Vec<_> = reads.iter().collect();
        let mut tries = Tries::default();
        loop {
            let primary = self.known(deadline, || self.primary()).await;
            let node = primary.map_err(|error| tries.end(error))?;
            let error = match node.send_tracked(&borrowed, deadline).await {
                Ok(mut answers) => match first_transient(&answers.replies, &borrowed) {
                    Some(error) => error,
                    None => {
                        // What was read from a primary that has been replaced meanwhile is nobody's to report.
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

    /// Waits before the next try, or ends the call with `error`.
    async fn pause_before_repeating(
        &self,
        effect: Effect,
        error: CacheError,
        tries: &mut Tries,
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
        tries: &mut Tries,
        deadline: Deadline,
    ) -> Result<(), CacheError> {
        self.take_note(&error);
        let is_unreachable = matches!(
            error,
            CacheError::Unavailable {
                reason: Unavailability::Connect | Unavailability::Resolve,
                ..
            }
        );
        // Nobody looked for as long as no runtime ran the task that does: the primary may be another one by now.
        if is_unreachable && self.upkeep.catch_up(deadline).await {
            return Ok(());
        }
        let delay = tries.next(effect, has_choice, error, self.max_retries, deadline.remaining())?;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        Ok(())
    }

    /// A connection for the first try of a command, if there is no need to wait for one.
    pub(crate) fn ready_connection(&self, effect: Effect, now: Instant) -> Option<Arc<Link>> {
        if !self.is_followed() {
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
        tries: &Tries,
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

    /// What `find` finds; after the next look if it finds nothing now and nobody has looked for a while.
    async fn known(
        &self,
        deadline: Deadline,
        find: impl Fn() -> Result<Arc<Node>, CacheError>,
    ) -> Result<Arc<Node>, CacheError> {
        match find() {
            Err(error) => {
                self.upkeep.hint(Hint::Outage);
                if self.upkeep.catch_up(deadline).await {
                    find()
                } else {
                    Err(error)
                }
            }
            found => found,
        }
    }

    /// The primary, as far as is known.
    pub(crate) fn primary(&self) -> Result<Arc<Node>, CacheError> {
        self.primary.load_full().ok_or_else(no_primary)
    }

    /// The replicas, as far as is known.
    pub(crate) fn replicas(&self) -> Arc<Vec<Arc<Node>>> {
        self.replicas.load_full()
    }

    /// The next replica that can answer reads. If reads must go to one, it may be one that has just said that it cannot.
    fn replica(&self) -> Option<Arc<Node>> {
        let replicas = self.replicas.load();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = || (0..replicas.len()).map(|step| &replicas[turn.wrapping_add(step) % replicas.len()]);
        let fit = in_turn().find(|node| node.is_fit());
        let any = || in_turn().find(|node| self.read_from == ReadFrom::Replica && !node.is_down());
        fit.or_else(any).map(Arc::clone)
    }

    /// Puts another primary in place. Calls in flight on the old one end as they end.
    pub(crate) fn set_primary(&self, node: Arc<Node>) {
        let replaces = self.primary.load().is_some();
        if replaces {
            self.feed.everything();
        }
        self.primary.store(Some(node));
        if replaces {
            // Again, for what was read from the old one between the two.
            self.feed.everything();
        }
    }

    /// Puts other replicas in place.
    pub(crate) fn set_replicas(&self, nodes: Vec<Arc<Node>>) {
        self.replicas.store(Arc::new(nodes));
    }

    /// One round trip to the primary; fails if a replica answers in its place.
    pub(crate) async fn ping(&self, deadline: Deadline) -> Result<(), CacheError> {
        self.revive(deadline.begun());
        let ping = Command::read("PING");
        let primary = self.known(deadline, || self.primary()).await?;
        let answered = match primary.ask(&[&ping], deadline).await {
            Ok(_) if primary.is_replica() => {
                primary.suspect();
                Err(only_a_replica(primary.address()))
            }
            answered => answered,
        };
        // Somebody who only asks whether the primary is there helps to find the next one, too.
        let replies = answered.inspect_err(|error| self.take_note(error))?;
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
        self.upkeep.stop();
        if let Some((_, following)) = self.following.get() {
            following.close();
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

/// The error if a replica answers at the address of the primary.
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
