//! The wire over the `redis` crate: its codec and pipelining driver, over a stream that this crate opens.
//!
//! This crate opens, secures and monitors the stream; the `redis` crate does the handshake, encodes, decodes
//! and matches replies to requests.

mod gather;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cache_core::clock;
use cache_core::{CacheError, Outcome, Stage, Unavailability};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, ProtocolVersion, PushInfo, PushKind,
    RedisConnectionInfo, RedisError, ToRedisArgs as _, Value,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;

use super::own::Stream;
use super::{Events, Handshake, HandshakeError, Negotiated, Traffic};
use crate::command::{Argument, Command};
use crate::deadline::Deadline;
use crate::reply::{Reply, ServerError};
use gather::Gather;

/// How many requests may wait for the driver. Further callers wait, which is the back-pressure.
const QUEUE: usize = 1024;

/// How often a waiting call checks whether its connection still exists.
const LOOK: Duration = Duration::from_millis(100);

/// Bytes the driver gathers before it must write.
const WRITE_BUFFER: usize = 64 * 1024;

/// One connection to one server, shared by any number of callers.
pub(crate) struct Connection {
    inner: MultiplexedConnection,
    traffic: Arc<Traffic>,
    closed: Arc<AtomicBool>,
    driver: AbortHandle,
}

impl Connection {
    /// Performs the handshake over `stream` and starts the connection's driver on the current runtime.
    pub(crate) async fn open(
        stream: Stream,
        handshake: &Handshake<'_>,
        events: Arc<dyn Events>,
        deadline: Deadline,
    ) -> Result<(Self, Negotiated), HandshakeError> {
        let connection = match stream {
            Stream::Tcp(stream) => Self::over(stream, handshake, events).await?,
            Stream::Tls(stream) => Self::over(*stream, handshake, events).await?,
            #[cfg(any(test, fuzzing))]
            Stream::Memory(stream) => Self::over(stream, handshake, events).await?,
        };
        let hello = connection.send(&Command::read("HELLO").int(3), deadline).await;
        let hello = hello.map_err(|error| HandshakeError::Ended(Arc::new(error)))?;
        Ok((connection, Negotiated::Resp3(hello)))
    }

    async fn over<S>(
        stream: S,
        handshake: &Handshake<'_>,
        events: Arc<dyn Events>,
    ) -> Result<Self, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut info = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name("cache-valkey", env!("CARGO_PKG_VERSION"));
        if let Some(username) = handshake.username {
            info = info.set_username(username);
        }
        if let Some(password) = handshake.password {
            info = info.set_password(password);
        }
        let pushes = Arc::clone(&events);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE)
            .set_write_backpressure_boundary(WRITE_BUFFER)
            .set_push_sender(move |push| deliver(&*pushes, push));
        let traffic = Arc::new(Traffic::default());
        let stream = Gather::new(stream, Arc::clone(&traffic));
        let (inner, driver) = MultiplexedConnection::new_with_config(&info, stream, config)
            .await
            .map_err(handshake_error)?;
        let closed = Arc::new(AtomicBool::new(false));
        let end = End {
            closed: Arc::clone(&closed),
            events,
        };
        let driver = tokio::spawn(async move {
            let _end = end;
            driver.await;
        })
        .abort_handle();
        Ok(Self {
            inner,
            traffic,
            closed,
            driver,
        })
    }

    /// Sends one command and waits for its reply, until `deadline`. Cancel safe.
    pub(crate) async fn send(&self, command: &Command<'_>, deadline: Deadline) -> Result<Reply, CacheError> {
        self.answer(deadline, self.exchange(command)).await
    }

    /// Sends commands as one pipeline and waits for all replies, until `deadline`. Cancel safe.
    pub(crate) async fn send_batch(
        &self,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Reply>, CacheError> {
        self.answer(deadline, self.exchange_all(commands)).await
    }

    /// Waits until the deadline or the end of the connection.
    ///
    /// A request that enters the queue while the driver ends is never answered: the queue is emptied once,
    /// and the request may come after that. So a slow call checks at intervals whether the connection still
    /// exists.
    async fn answer<T>(
        &self,
        deadline: Deadline,
        reply: impl Future<Output = Result<T, CacheError>>,
    ) -> Result<T, CacheError> {
        let mut reply = pin!(reply);
        let mut until = deadline.started_at() + LOOK;
        loop {
            let next = until.min(deadline.at());
            match tokio::time::timeout_at(next, reply.as_mut()).await {
                Ok(result) => return result,
                Err(_) if next == deadline.at() => return Err(deadline.passed(Stage::Reply)),
                Err(_) if self.is_closed() => return Err(lost(Outcome::Unknown, None)),
                Err(_) => until = clock::now() + LOOK,
            }
        }
    }

    async fn exchange(&self, command: &Command<'_>) -> Result<Reply, CacheError> {
        if command.name() == "SUBSCRIBE" {
            return self.subscribe(command).await.map(|()| Reply::Nil);
        }
        self.refuse_if_closed()?;
        let in_flight = self.traffic.enter();
        // A cheap clone, because the crate needs `&mut`.
        let mut inner = self.inner.clone();
        match inner.send_packed_command(&pack(command)).await {
            Ok(value) => {
                in_flight.answered();
                Ok(reply(value))
            }
            Err(error) => Err(ended(error, &self.traffic)),
        }
    }

    async fn exchange_all(&self, commands: &[&Command<'_>]) -> Result<Vec<Reply>, CacheError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        self.refuse_if_closed()?;
        let in_flight = self.traffic.enter();
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(pack(command));
        }
        let mut inner = self.inner.clone();
        match inner.send_packed_commands(&pipeline, 0, commands.len()).await {
            Ok(values) if values.len() == commands.len() => {
                in_flight.answered();
                Ok(values.into_iter().map(reply).collect())
            }
            Ok(values) => Err(CacheError::Corrupt {
                detail: format!(
                    "the server gave {} replies to {} commands",
                    values.len(),
                    commands.len()
                )
                .into(),
                source: None,
            }),
            Err(error) => Err(ended(error, &self.traffic)),
        }
    }

    /// Subscribes to channels; their messages arrive as [`Events::on_push`].
    async fn subscribe(&self, command: &Command<'_>) -> Result<(), CacheError> {
        self.refuse_if_closed()?;
        let channels: Vec<&[u8]> = command
            .arguments()
            .iter()
            .filter_map(|argument| match argument {
                Argument::Bytes(channel) => Some(*channel),
                _ => None,
            })
            .collect();
        let subscribed = self.inner.clone().subscribe(channels).await;
        subscribed.map_err(|error| ended(error, &self.traffic))
    }

    /// Closes the connection at once. Requests in flight get an error.
    pub(crate) fn close(&self) {
        // The driver ends when it next runs; until then, no more requests may be sent.
        self.closed.store(true, Ordering::Release);
        self.driver.abort();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The connection's traffic counters.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    fn refuse_if_closed(&self) -> Result<(), CacheError> {
        if self.is_closed() {
            Err(lost(Outcome::NotApplied, None))
        } else {
            Ok(())
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("in_flight", &self.traffic.in_flight())
            .finish_non_exhaustive()
    }
}

/// Reports the end of the connection when the driver is dropped, for any reason.
struct End {
    closed: Arc<AtomicBool>,
    events: Arc<dyn Events>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        self.events.on_closed();
    }
}

fn deliver(events: &dyn Events, push: PushInfo) -> Result<(), std::convert::Infallible> {
    // The driver's guard reports the end, once and last.
    if push.kind != PushKind::Disconnection {
        events.on_push(&push.kind.to_string(), push.data.into_iter().map(reply).collect());
    }
    Ok(())
}

fn pack(command: &Command<'_>) -> Cmd {
    let name = command.name();
    let arguments = command.arguments();
    let bytes = arguments.iter().map(|argument| match argument {
        Argument::Bytes(bytes) => bytes.len(),
        Argument::Value(value) => value.len(),
        Argument::Int(_) => 20,
    });
    let mut cmd = Cmd::with_capacity(arguments.len() + 1, name.len() + bytes.sum::<usize>());
    cmd.arg(name);
    let mut digits = itoa::Buffer::new();
    for argument in arguments {
        match argument {
            Argument::Bytes(bytes) => cmd.arg(*bytes),
            Argument::Value(value) => cmd.arg(&value[..]),
            Argument::Int(value) => cmd.arg(digits.format(*value).as_bytes()),
        };
    }
    cmd
}

fn reply(value: Value) -> Reply {
    match value {
        Value::Nil => Reply::Nil,
        Value::Int(value) => Reply::Int(value),
        Value::BulkString(bytes) => Reply::Bulk(Bytes::from(bytes)),
        Value::Okay => Reply::Status("OK".into()),
        Value::SimpleString(text) => Reply::Status(text.into()),
        Value::VerbatimString { text, .. } => Reply::Bulk(text.into()),
        // Bytes, or a big number if the feature `num-bigint` is on: both can be written as an argument.
        Value::BigNumber(digits) => Reply::Bulk(digits.to_redis_args().concat().into()),
        Value::Boolean(value) => Reply::Bool(value),
        Value::Double(value) => Reply::Double(value),
        Value::Array(items) | Value::Set(items) | Value::Push { data: items, .. } => {
            Reply::Array(items.into_iter().map(reply).collect())
        }
        Value::Map(pairs) => Reply::Map(
            pairs
                .into_iter()
                .map(|(key, value)| (reply(key), reply(value)))
                .collect(),
        ),
        Value::Attribute { data, .. } => reply(*data),
        Value::ServerError(error) => Reply::Error(Box::new(server_error(error.code(), error.details()))),
        // The crate may add types; no command used here returns one.
        _ => Reply::Nil,
    }
}

fn server_error(code: &str, detail: Option<&str>) -> ServerError {
    ServerError::new(code, detail.unwrap_or_default())
}

fn handshake_error(error: RedisError) -> HandshakeError {
    if let Some(code) = error.code() {
        return HandshakeError::Refused(server_error(code, error.detail()));
    }
    match error.kind() {
        ErrorKind::RESP3NotSupported => {
            HandshakeError::Refused(server_error("NOPROTO", Some("it knows no HELLO")))
        }
        ErrorKind::Parse => HandshakeError::NotTheProtocol(Arc::new(error)),
        _ => HandshakeError::Ended(Arc::new(error)),
    }
}

/// The error of a request whose connection ended.
fn ended(error: RedisError, traffic: &Traffic) -> CacheError {
    if let Some(code) = error.code() {
        return crate::error::from_server(&server_error(code, error.detail()), "the connection");
    }
    // A reply that the end of the connection cut off cannot be parsed either.
    if error.kind() == ErrorKind::Parse && !traffic.has_ended() {
        return CacheError::Corrupt {
            detail: "the server sent what is not the Redis protocol; the connection was given up".into(),
            source: Some(Arc::new(error)),
        };
    }
    lost(Outcome::Unknown, Some(error))
}

fn lost(outcome: Outcome, error: Option<RedisError>) -> CacheError {
    CacheError::Unavailable {
        reason: Unavailability::Lost,
        detail: "the server or the network ended it".into(),
        outcome,
        source: error.map(|error| Arc::new(error) as cache_core::ErrorSource),
    }
}

/// The first reply in `bytes`, as the crate reads it, for comparison in tests.
#[cfg(test)]
pub(super) fn read(bytes: &[u8]) -> Option<Reply> {
    redis::parse_redis_value(bytes).ok().map(reply)
}
