//! The default wire: RESP3, or RESP2 with older servers, over any stream.
//!
//! - A caller encodes its request straight into the connection's buffer under one short lock ([`calls`]): no
//!   channel, and no copy of a big value.
//! - If the connection is idle, the caller writes the request itself ([`stream`]); otherwise the connection's
//!   task writes for many callers at once ([`driver`]).
//! - Replies are slices of the read buffer ([`parse`]) and are put into the slots of their calls.
//!
//! The parent module states what a wire guarantees.

mod batch;
mod call;
mod calls;
mod driver;
mod encode;
mod handshake;
mod outgoing;
mod parse;
mod shared;
mod stream;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cache_core::clock;
use cache_core::{CacheError, ErrorSource, Outcome, Stage, Unavailability};
use parking_lot::Mutex;
use tokio::runtime::{self, Handle};
use tokio::task::AbortHandle;

pub(crate) use stream::Stream;

use self::call::Call;
use self::calls::{BUDGET, Calls, Request};
use self::driver::Driver;
use self::encode::{Values, big, encode, size};
use self::outgoing::Outgoing;
use self::shared::{End, Shared, State};
use super::traffic::Traffic;
use super::{Events, Handshake, HandshakeError, Negotiated};
use crate::command::Command;
use crate::deadline::Deadline;
use crate::reply::Reply;

/// How often a call from another runtime checks whether the connection's task runs.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// How long that task may stay idle after being woken before its runtime counts as suspended.
const SUSPENDED: Duration = Duration::from_secs(1);

/// One connection to one server, shared by any number of callers.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    driver: AbortHandle,
    /// The runtime of the connection's task.
    runtime: runtime::Id,
}

impl Connection {
    /// Performs the handshake over `stream` and starts the connection's task on the current runtime.
    pub(crate) async fn open(
        stream: Stream,
        handshake: &Handshake<'_>,
        events: Arc<dyn Events>,
        deadline: Deadline,
    ) -> Result<(Self, Negotiated), HandshakeError> {
        let connection = Self::start(stream, events);
        let negotiated = connection.shake_hands(handshake, deadline).await?;
        Ok((connection, negotiated))
    }

    fn start(stream: Stream, events: Arc<dyn Events>) -> Self {
        let (reader, writer, direct) = stream.split();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                calls: Calls::new(BUDGET),
                driver: None,
                is_parked: false,
                spare: Outgoing::default(),
                end: None,
            }),
            has_ended: AtomicBool::new(false),
            direct,
            traffic: Traffic::default(),
            turns: AtomicU64::new(0),
        });
        let driver = tokio::spawn(Driver::new(Arc::clone(&shared), events, reader, writer).run());
        Self {
            shared,
            driver: driver.abort_handle(),
            runtime: Handle::current().id(),
        }
    }

    /// Whether the caller runs on the runtime of the connection's task, so that both run or neither does.
    fn is_on_own_runtime(&self) -> bool {
        Handle::try_current().map_or(true, |runtime| runtime.id() == self.runtime)
    }

    /// Awaits a call from another runtime. The connection's task may be suspended, so the caller checks the
    /// deadline itself, and closes a connection whose task does not run after being woken.
    async fn watch(
        &self,
        mut call: impl Future<Output = calls::Outcome> + Unpin,
        deadline: Deadline,
    ) -> calls::Outcome {
        let mut woken = None;
        loop {
            let patience = if woken.is_some() {
                SUSPENDED
            } else {
                CHECK_INTERVAL
            };
            let until = deadline.at().min(clock::now() + patience);
            if let Ok(outcome) = tokio::time::timeout_at(until, &mut call).await {
                return outcome;
            }
            if clock::now() >= deadline.at() {
                return calls::Outcome::TimedOut { replies: Vec::new() };
            }
            let turns = self.shared.turns.load(Ordering::Relaxed);
            if woken == Some(turns) {
                self.close();
                continue;
            }
            // Without being woken, it may have had no reason to run.
            woken = Some(turns);
            let driver = self.shared.state().driver.clone();
            if let Some(driver) = driver {
                driver.wake();
            }
        }
    }

    /// Sends one command and waits for its reply, until `deadline`. Cancel safe.
    pub(crate) async fn send(&self, command: &Command<'_>, deadline: Deadline) -> Result<Reply, CacheError> {
        let call = self.call(
            Request {
                replies: 1,
                size: size(command),
                big: big(command),
                subscribes: command.name() == "SUBSCRIBE",
                deadline,
            },
            |out, waits| encode(out, command, values(waits)),
        );
        let outcome = if self.is_on_own_runtime() {
            call.await
        } else {
            Box::pin(self.watch(call, deadline)).await
        };
        match outcome {
            calls::Outcome::One(reply) => Ok(reply),
            other => Err(self.failure(&other, deadline)),
        }
    }

    fn call<E: FnOnce(&mut Outgoing, bool)>(&self, request: Request, encode: E) -> Call<'_, E> {
        Call {
            shared: &self.shared,
            request,
            encode: Some(encode),
            slot: None,
        }
    }

    /// Closes the connection at once. Calls in flight get an error.
    pub(crate) fn close(&self) {
        self.shared.end(End::Dropped);
        self.driver.abort();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.has_ended.load(Ordering::Acquire)
    }

    /// The connection's traffic counters.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.shared.traffic
    }

    /// The error of a call that got no reply.
    fn failure(&self, outcome: &calls::Outcome, deadline: Deadline) -> CacheError {
        let written = match outcome {
            calls::Outcome::Ended { written, .. } => *written,
            _ => return deadline.passed(Stage::Reply),
        };
        let source: Option<ErrorSource> = match self.shared.state().end.clone() {
            Some(End::Protocol(error)) => return corrupt(Some(Arc::new(error))),
            Some(End::UnexpectedReply) => return corrupt(None),
            Some(End::Io(error)) => Some(error),
            Some(End::ServerError(error)) => Some(Arc::new(error)),
            Some(End::Dropped | End::Peer) | None => None,
        };
        CacheError::Unavailable {
            reason: Unavailability::Lost,
            detail: "the server or the network ended it".into(),
            outcome: if written {
                Outcome::Unknown
            } else {
                Outcome::NotApplied
            },
            source,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("in_flight", &self.traffic().in_flight())
            .finish_non_exhaustive()
    }
}

/// Parses these pieces and describes the messages by shape only.
#[cfg(fuzzing)]
pub(crate) fn messages<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Option<Vec<String>> {
    let messages = parse::read_all(pieces).ok()?;
    Some(messages.iter().map(|message| format!("{message:?}")).collect())
}

const fn values(waits: bool) -> Values {
    if waits { Values::Waiting } else { Values::Sending }
}

fn corrupt(source: Option<ErrorSource>) -> CacheError {
    CacheError::Corrupt {
        detail: "the server sent what is not the Redis protocol; the connection was given up".into(),
        source,
    }
}
