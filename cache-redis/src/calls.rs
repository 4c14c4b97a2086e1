//! Runs one call: with a session, within a deadline, ended when the client closes.
//!
//! Not in here: the commands of a call, and splitting a batch.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::slot::slot_of;
use cache_core::{CacheError, Outcome, Stage, Unavailability};
use redis::{Cmd, Pipeline, Value};
use tokio::sync::Notify;

use crate::connection::{Failure, Session, Source, Target};
use crate::error::{Attempt, accept, from_failure};
use crate::script::Script;

/// Where calls go, their deadline, and whether the client is closed.
pub(crate) struct Calls {
    source: Box<dyn Source>,
    pub(crate) deadline: Option<Duration>,
    closed: AtomicBool,
    closing: Notify,
}

impl Calls {
    pub(crate) fn new(source: impl Source, deadline: Option<Duration>) -> Self {
        Self {
            source: Box::new(source),
            deadline,
            closed: AtomicBool::new(false),
            closing: Notify::new(),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.source.name()
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.source.is_cluster()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.closing.notify_waiters();
    }

    /// Begins a call.
    pub(crate) fn begin(&self, effect: Effect) -> Result<Call<'_>, CacheError> {
        if self.is_closed() {
            return Err(CacheError::Closed);
        }
        let began = clock::now();
        Ok(Call {
            calls: self,
            effect,
            began,
            ends: self.deadline.map(|deadline| began + deadline),
        })
    }
}

/// What a call does to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Read,
    Write,
}

/// A call in progress.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    calls: &'a Calls,
    effect: Effect,
    began: Instant,
    ends: Option<Instant>,
}

impl Call<'_> {
    /// Sends one command about `key`. Returns the reply; a refusal is an error.
    pub(crate) async fn send(
        &self,
        name: &'static str,
        key: &str,
        command: &Cmd,
    ) -> Result<Value, CacheError> {
        let session = self.session(name).await?;
        self.send_over(&*session, name, key, command).await
    }

    /// As [`send`](Self::send), over an existing session.
    pub(crate) async fn send_over(
        &self,
        session: &dyn Session,
        name: &'static str,
        key: &str,
        command: &Cmd,
    ) -> Result<Value, CacheError> {
        let value = self
            .run_until_done(name, session.send(command, self.target_of(key)))
            .await?;
        accept(value, self.attempt(name))
    }

    /// Runs `script` on `key`. Returns the reply; a refusal is an error.
    pub(crate) async fn run(
        &self,
        script: &Script,
        key: &str,
        arguments: &[&[u8]],
    ) -> Result<Value, CacheError> {
        let session = self.session("EVALSHA").await?;
        let mut known = redis::cmd("EVALSHA");
        known.arg(script.digest()).arg(1).arg(key).arg(arguments);
        match self.send_over(&*session, "EVALSHA", key, &known).await {
            Err(CacheError::Rejected { code, .. }) if code == "NOSCRIPT" => {}
            reply => return reply,
        }
        let mut text = redis::cmd("EVAL");
        text.arg(script.text).arg(1).arg(key).arg(arguments);
        self.send_over(&*session, "EVAL", key, &text).await
    }

    /// Pings every primary in use.
    pub(crate) async fn ping(&self) -> Result<(), CacheError> {
        let session = self.session("PING").await?;
        let value = self.run_until_done("PING", session.ping()).await?;
        accept(value, self.attempt("PING")).map(drop)
    }

    /// Sends a pipeline over `session` to a single server. Returns a result for each command.
    pub(crate) async fn send_all(
        &self,
        session: &dyn Session,
        name: &'static str,
        pipeline: &Pipeline,
    ) -> Result<Vec<Result<Value, CacheError>>, CacheError> {
        let values = self.run_until_done(name, session.send_all(pipeline)).await?;
        if values.len() != pipeline.len() {
            return Err(CacheError::Corrupt {
                detail: format!(
                    "the server gave {} replies to {} commands",
                    values.len(),
                    pipeline.len()
                )
                .into(),
                source: None,
            });
        }
        let attempt = self.attempt(name);
        Ok(values.into_iter().map(|value| accept(value, attempt)).collect())
    }

    /// A connection for this call.
    pub(crate) async fn session(&self, name: &'static str) -> Result<Box<dyn Session>, CacheError> {
        match self.run_until_done(name, self.calls.source.session()).await {
            // Nothing was sent.
            Err(_) if self.calls.is_closed() => Err(CacheError::Closed),
            Err(CacheError::Timeout { after, .. }) => Err(CacheError::Timeout {
                stage: Stage::Connect,
                after,
            }),
            session => session,
        }
    }

    /// Whether the call may have written something.
    pub(crate) const fn writes(&self) -> bool {
        matches!(self.effect, Effect::Write)
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.calls.is_cluster()
    }

    fn target_of(&self, key: &str) -> Target {
        Target {
            slot: slot_of(key.as_bytes()),
            reads: !self.writes(),
        }
    }

    fn attempt(&self, command: &'static str) -> Attempt {
        Attempt {
            command,
            took: clock::now() - self.began,
            may_repeat: self.calls.is_cluster(),
        }
    }

    /// Waits for `reply`, the deadline, or the client's closing.
    async fn run_until_done<T, F: Into<Failure>>(
        &self,
        name: &'static str,
        reply: impl Future<Output = Result<T, F>>,
    ) -> Result<T, CacheError> {
        let closing = self.calls.closing.notified();
        // Closing the client from now on wakes `closing`.
        if self.calls.is_closed() {
            return Err(CacheError::Closed);
        }
        let late = async {
            match self.ends {
                Some(ends) => tokio::time::sleep_until(ends).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            reply = reply => reply.map_err(|failure| from_failure(failure.into(), self.attempt(name))),
            () = closing => Err(CacheError::Unavailable {
                reason: Unavailability::Lost,
                detail: "the client was closed while the call was under way".into(),
                outcome: Outcome::Unknown,
                source: None,
            }),
            () = pin!(late) => Err(CacheError::Timeout {
                stage: Stage::Call,
                after: self.calls.deadline.unwrap_or_default(),
            }),
        }
    }
}
