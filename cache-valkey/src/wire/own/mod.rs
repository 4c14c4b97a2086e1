//! The wire that this client uses: RESP3, or RESP2 with servers that know nothing newer, over any stream.
//!
//! - A caller encodes its request straight into the connection's buffer, under one short lock ([`calls`]): no message,
//!   no channel, no copy of a big value.
//! - If the connection has nothing else to do, the caller writes the request itself ([`stream`]); else the connection's
//!   task does, for many callers at once ([`driver`]).
//! - Replies are cut out of the read buffer ([`parse`]) and put into the slots of their calls.
//!
//! What is promised is in the module above.

mod calls;
mod driver;
mod encode;
mod outgoing;
mod parse;
mod stream;

use std::fmt;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cache_core::clock;
use cache_core::{CacheError, ErrorSource, Outcome, Stage, Unavailability};
use futures::StreamExt as _;
use futures::future::join;
use futures::stream::FuturesOrdered;
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::{self, Handle};
use tokio::task::AbortHandle;

pub(crate) use stream::Stream;

use self::calls::{BUDGET, Begun, Calls, Request};
use self::driver::Driver;
use self::encode::{Values, big, encode, size};
use self::outgoing::Outgoing;
use self::parse::NotTheProtocol;
use self::stream::Direct;
use super::traffic::Traffic;
use super::{Events, Greeted, Handshake, HandshakeError, Protocol};
use crate::command::Command;
use crate::deadline::Deadline;
use crate::reply::{Reply, ServerError};

/// The bytes of a batch that are encoded at once. A longer batch is sent in parts, so that it never needs more memory
/// than a few of them, and so that other calls get their turn.
const PART: usize = 256 * 1024;

/// The parts of a batch that are under way at once.
const PARTS: usize = 8;

/// How long a call from another runtime waits before it looks whether the connection's task runs.
const GLANCE: Duration = Duration::from_millis(250);

/// For how long that task may not run although it was woken, before its runtime counts as suspended.
const SUSPENDED: Duration = Duration::from_secs(1);

/// One connection to one server, shared by any number of callers.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    driver: AbortHandle,
    /// The runtime of the connection's task.
    home: runtime::Id,
}

/// What callers and the connection's task share.
struct Shared {
    state: Mutex<State>,
    has_ended: AtomicBool,
    /// The way to write past the connection's task.
    direct: Option<Direct>,
    traffic: Traffic,
    /// Grows whenever the connection's task runs.
    turns: AtomicU64,
}

struct State {
    calls: Calls,
    /// What wakes the connection's task, and whether it waits for something to write.
    driver: Option<Waker>,
    is_parked: bool,
    /// An empty buffer for callers that write.
    spare: Outgoing,
    end: Option<End>,
}

/// Why a connection has ended.
#[derive(Clone, Debug)]
enum End {
    /// We have given it up.
    Dropped,
    /// The peer has closed it.
    Peer,
    /// The server said why, without having been asked anything.
    Said(ServerError),
    /// The system said so.
    Io(Arc<io::Error>),
    Protocol(NotTheProtocol),
    /// A reply came that nobody has asked for.
    Stray,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Begins a call; its slot. `None` if the connection has ended.
    #[inline]
    fn begin(&self, request: Request, waker: Waker, encode: impl FnOnce(&mut Outgoing, bool)) -> Option<u32> {
        let mut guard = self.state();
        let state = &mut *guard;
        let Begun {
            slot,
            is_full,
            is_urgent,
        } = state.calls.begin(request, waker, encode)?;
        state.calls.report(&self.traffic);
        if is_full && let Some(direct) = &self.direct {
            let mut batch = mem::take(&mut state.spare);
            state.calls.take_encoded(&mut batch);
            drop(guard);
            self.write(direct, batch, is_urgent);
        } else {
            Self::wake_driver(guard, is_urgent);
        }
        Some(slot)
    }

    /// Writes requests on the task of a caller. The connection's task gets what the socket does not take.
    fn write(&self, direct: &Direct, mut batch: Outgoing, is_urgent: bool) {
        let written = direct.try_write(&batch);
        if written > 0 {
            batch.advance(written);
        }
        let mut guard = self.state();
        let state = &mut *guard;
        let is_all = batch.is_empty();
        state.calls.written(written, is_all);
        if is_all {
            state.spare = batch;
        } else {
            state.calls.give_back(batch);
        }
        state.calls.report(&self.traffic);
        Self::wake_driver(guard, is_urgent);
    }

    /// Wakes the connection's task if it has to write, or to look at the deadlines.
    fn wake_driver(mut state: MutexGuard<'_, State>, is_urgent: bool) {
        let has_to_write = state.is_parked && state.calls.has_encoded();
        if has_to_write || is_urgent {
            state.is_parked = false;
            let driver = state.driver.clone();
            drop(state);
            if let Some(driver) = driver {
                driver.wake();
            }
        }
    }

    /// Notes that the connection's task has nothing to write and waits for a call to wake it.
    fn park(state: &mut State, waker: &Waker) {
        state.is_parked = true;
        if !state.driver.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.driver = Some(waker.clone());
        }
    }

    /// Ends all calls; `end` is why, unless that is known already.
    fn end(&self, end: End) {
        let mut wakers = Vec::new();
        {
            let mut state = self.state();
            state.end.get_or_insert(end);
            state.calls.end(&mut wakers);
            state.calls.report(&self.traffic);
            self.has_ended.store(true, Ordering::Release);
        }
        if let Some(direct) = &self.direct {
            direct.shut_down();
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// One request under way. Its slot is given back however it ends.
struct Call<'a, E> {
    shared: &'a Shared,
    request: Request,
    encode: Option<E>,
    slot: Option<u32>,
}

impl<E> Unpin for Call<'_, E> {}

impl<E: FnOnce(&mut Outgoing, bool)> Future for Call<'_, E> {
    type Output = calls::Outcome;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let call = &mut *self;
        if let Some(slot) = call.slot {
            let mut state = call.shared.state();
            let Some(outcome) = state.calls.take(slot, cx.waker()) else {
                return Poll::Pending;
            };
            if matches!(outcome, calls::Outcome::Late { .. }) {
                state.calls.report(&call.shared.traffic);
                call.shared.traffic.abandon();
            }
            drop(state);
            call.slot = None;
            return Poll::Ready(outcome);
        }
        let Some(encode) = call.encode.take() else {
            return Poll::Pending;
        };
        call.slot = call.shared.begin(call.request, cx.waker().clone(), encode);
        match call.slot {
            Some(_) => Poll::Pending,
            None => Poll::Ready(calls::Outcome::Ended {
                written: false,
                replies: Vec::new(),
            }),
        }
    }
}

impl<E> Drop for Call<'_, E> {
    fn drop(&mut self) {
        let Some(slot) = self.slot else { return };
        let mut state = self.shared.state();
        if state.calls.abandon(slot) {
            state.calls.report(&self.shared.traffic);
            self.shared.traffic.abandon();
        }
    }
}

impl Connection {
    /// Shakes hands over `stream` and starts the connection's task on the current runtime.
    pub(crate) async fn open(
        stream: Stream,
        handshake: &Handshake<'_>,
        events: Arc<dyn Events>,
        deadline: Deadline,
    ) -> Result<(Self, Greeted), HandshakeError> {
        let connection = Self::start(stream, events);
        let greeted = connection.shake_hands(handshake, deadline).await?;
        Ok((connection, greeted))
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
            home: Handle::current().id(),
        }
    }

    /// Whether the caller is on the runtime of the connection's task, so that both run or neither does.
    fn is_at_home(&self) -> bool {
        Handle::try_current().map_or(true, |runtime| runtime.id() == self.home)
    }

    /// What comes of a call from another runtime. The connection's task may not run, and then nobody but the caller looks at
    /// the deadline. A connection whose task does not run although it is woken is of no use to anybody, and is ended.
    async fn watch(
        &self,
        mut call: impl Future<Output = calls::Outcome> + Unpin,
        deadline: Deadline,
    ) -> calls::Outcome {
        let mut woken = None;
        loop {
            let patience = if woken.is_some() { SUSPENDED } else { GLANCE };
            let until = deadline.at().min(clock::now() + patience);
            if let Ok(outcome) = tokio::time::timeout_at(until, &mut call).await {
                return outcome;
            }
            if clock::now() >= deadline.at() {
                return calls::Outcome::Late { replies: Vec::new() };
            }
            let turns = self.shared.turns.load(Ordering::Relaxed);
            if woken == Some(turns) {
                self.close();
                continue;
            }
            // It may have had no reason to run.
            woken = Some(turns);
            let driver = self.shared.state().driver.clone();
            if let Some(driver) = driver {
                driver.wake();
            }
        }
    }

    async fn shake_hands(
        &self,
        handshake: &Handshake<'_>,
        deadline: Deadline,
    ) -> Result<Greeted, HandshakeError> {
        let user = handshake.username.unwrap_or("default");
        if handshake.protocol == Protocol::Resp3 {
            let mut hello = Command::read("HELLO").int(3);
            if let Some(password) = handshake.password {
                hello = hello.arg("AUTH").arg(user).arg(password);
            }
            if let Some(name) = handshake.client_name {
                hello = hello.arg("SETNAME").arg(name);
            }
            let name = Command::read("CLIENT")
                .arg("SETINFO")
                .arg("LIB-NAME")
                .arg("cache-valkey");
            let version = Command::read("CLIENT");
            let version = version
                .arg("SETINFO")
                .arg("LIB-VER")
                .arg(env!("CARGO_PKG_VERSION"));
            // By itself, because a server that hangs up answers it with the reason.
            let (greeted, _named) = join(
                self.shake(&hello, deadline),
                // Servers that do not know `SETINFO` are as good.
                self.send_batch(&[&name, &version], deadline),
            )
            .await;
            return match greeted? {
                Reply::Error(error) if knows_no_hello(&error) => self.log_in(handshake, deadline).await,
                Reply::Error(error) => Err(HandshakeError::Refused(*error)),
                reply => Ok(Greeted::Resp3(reply)),
            };
        }
        self.log_in(handshake, deadline).await
    }

    /// The handshake of the older protocol.
    async fn log_in(&self, handshake: &Handshake<'_>, deadline: Deadline) -> Result<Greeted, HandshakeError> {
        if let Some(password) = handshake.password {
            let mut auth = Command::read("AUTH");
            if let Some(username) = handshake.username {
                auth = auth.arg(username);
            }
            if let Reply::Error(error) = self.shake(&auth.arg(password), deadline).await? {
                return Err(HandshakeError::Refused(*error));
            }
        }
        match self.shake(&Command::read("PING"), deadline).await? {
            Reply::Error(error) => Err(HandshakeError::Refused(*error)),
            _ => Ok(Greeted::Resp2),
        }
    }

    async fn shake(&self, command: &Command<'_>, deadline: Deadline) -> Result<Reply, HandshakeError> {
        let reply = self.send(command, deadline).await;
        reply.map_err(|error| match self.shared.state().end.clone() {
            Some(End::Said(words)) => HandshakeError::Refused(words),
            Some(End::Peer) => HandshakeError::HungUp(None),
            // A peer that hangs up without having read all that was sent resets the connection.
            Some(End::Io(source)) if is_reset(&source) => HandshakeError::HungUp(Some(source)),
            Some(End::Io(source)) => HandshakeError::Ended(source),
            Some(End::Protocol(source)) => HandshakeError::NotTheProtocol(Arc::new(source)),
            _ => HandshakeError::Ended(Arc::new(error)),
        })
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
        let outcome = if self.is_at_home() {
            call.await
        } else {
            Box::pin(self.watch(call, deadline)).await
        };
        match outcome {
            calls::Outcome::One(reply) => Ok(reply),
            other => Err(self.failure(&other, deadline)),
        }
    }

    /// Sends commands back to back and waits for all replies, until `deadline`. Cancel safe.
    ///
    /// A batch that is long, in bytes, is sent in parts; the commands of other calls may come between these.
    pub(crate) async fn send_batch(
        &self,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Reply>, CacheError> {
        if commands.iter().map(|command| size(command)).sum::<usize>() <= PART {
            return self.send_part(commands, deadline).await;
        }
        Box::pin(self.send_in_parts(commands, deadline)).await
    }

    async fn send_in_parts(
        &self,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Reply>, CacheError> {
        let mut parts = parts(commands);
        let mut under_way = FuturesOrdered::new();
        let mut replies = Vec::with_capacity(commands.len());
        loop {
            while under_way.len() < PARTS
                && let Some(part) = parts.next()
            {
                under_way.push_back(self.send_part(part, deadline));
            }
            match under_way.next().await {
                // That nothing of one part was sent says nothing of the others.
                Some(part) => replies.extend(part.map_err(CacheError::with_unknown_outcome)?),
                None => return Ok(replies),
            }
        }
    }

    async fn send_part(
        &self,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Reply>, CacheError> {
        match self.send_part_each(commands, deadline).await {
            (replies, None) => Ok(replies),
            (_, Some(error)) => Err(error),
        }
    }

    /// As [`send_batch`](Self::send_batch), with a result for each command: one whose reply came before the deadline, or
    /// before the end of the connection, keeps it.
    pub(crate) async fn send_each(
        &self,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Vec<Result<Reply, CacheError>> {
        if commands.iter().map(|command| size(command)).sum::<usize>() <= PART {
            let (replies, error) = self.send_part_each(commands, deadline).await;
            return results(replies, error, commands.len()).collect();
        }
        Box::pin(self.send_each_in_parts(commands, deadline)).await
    }

    async fn send_each_in_parts(
        &self,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Vec<Result<Reply, CacheError>> {
        let mut parts = parts(commands);
        let mut under_way = FuturesOrdered::new();
        let mut all = Vec::with_capacity(commands.len());
        loop {
            while under_way.len() < PARTS
                && let Some(part) = parts.next()
            {
                under_way.push_back(async move { (part.len(), self.send_part_each(part, deadline).await) });
            }
            let Some((sent, (replies, error))) = under_way.next().await else {
                return all;
            };
            all.extend(results(replies, error, sent));
        }
    }

    /// Sends a part of a batch; the replies that came, and why the others did not.
    async fn send_part_each(
        &self,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> (Vec<Reply>, Option<CacheError>) {
        if commands.is_empty() {
            return (Vec::new(), None);
        }
        let call = self.call(
            Request {
                replies: u32::try_from(commands.len()).unwrap_or(u32::MAX),
                size: commands.iter().map(|command| size(command)).sum(),
                big: commands.iter().map(|command| big(command)).sum(),
                subscribes: false,
                deadline,
            },
            |out, waits| {
                for command in commands {
                    encode(out, command, values(waits));
                }
            },
        );
        let outcome = if self.is_at_home() {
            call.await
        } else {
            Box::pin(self.watch(call, deadline)).await
        };
        let error = match &outcome {
            calls::Outcome::One(_) | calls::Outcome::Many(_) => None,
            other => Some(self.failure(other, deadline)),
        };
        match outcome {
            calls::Outcome::One(reply) => (vec![reply], error),
            calls::Outcome::Many(replies)
            | calls::Outcome::Late { replies }
            | calls::Outcome::Ended { replies, .. } => (replies, error),
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

    /// Ends the connection at once; calls under way get an error.
    pub(crate) fn close(&self) {
        self.shared.end(End::Dropped);
        self.driver.abort();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.has_ended.load(Ordering::Acquire)
    }

    /// What is known of the connection's traffic.
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
            Some(End::Stray) => return corrupt(None),
            Some(End::Io(error)) => Some(error),
            Some(End::Said(error)) => Some(Arc::new(error)),
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

/// What a parser reads out of these pieces, in words that show shapes only.
#[cfg(fuzzing)]
pub(crate) fn messages<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Option<Vec<String>> {
    let messages = parse::read_all(pieces).ok()?;
    Some(messages.iter().map(|message| format!("{message:?}")).collect())
}

const fn values(waits: bool) -> Values {
    if waits { Values::Waiting } else { Values::Sending }
}

/// Cuts a batch into parts of about [`PART`] bytes. A command that prepares the next one stays with it.
fn parts<'a, 'b, 'c>(commands: &'a [&'b Command<'c>]) -> impl Iterator<Item = &'a [&'b Command<'c>]> {
    let mut rest = commands;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let mut end = 0;
        while end < rest.len() && (bytes < PART || rest[end - 1].prepares_next()) {
            bytes += size(rest[end]);
            end += 1;
        }
        let (part, others) = rest.split_at(end);
        rest = others;
        (!part.is_empty()).then_some(part)
    })
}

/// One result for each of `sent` commands: the replies that came, and the error for the others.
fn results(
    replies: Vec<Reply>,
    error: Option<CacheError>,
    sent: usize,
) -> impl Iterator<Item = Result<Reply, CacheError>> {
    let missing = sent - replies.len();
    let failed = error
        .into_iter()
        .flat_map(move |error| std::iter::repeat_n(error, missing));
    replies.into_iter().map(Ok).chain(failed.map(Err))
}

/// Whether the peer has ended the connection in the midst of something.
fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
    )
}

/// Whether a server knows no `HELLO`, which came with version 6 of Redis, or not this version of the protocol.
fn knows_no_hello(error: &ServerError) -> bool {
    let words = error.detail.to_ascii_lowercase();
    error.code == "NOPROTO" || (error.code == "ERR" && words.starts_with("unknown command"))
}

fn corrupt(source: Option<ErrorSource>) -> CacheError {
    CacheError::Corrupt {
        detail: "the server sent what is not the Redis protocol; the connection was given up".into(),
        source,
    }
}
