//! The wire: the small interface through which the rest of the crate talks to a server.
//!
//! [`Connection`] sends one command or a batch and gets the replies; [`Events`] receives pushes and the end
//! of the connection, in order. There are two implementations: [`own`] is the default; the one over the
//! `redis` crate (feature `redis-wire`) exists for comparison in tests and benchmarks. Nothing outside of
//! this folder knows which one is used.
//!
//! Both guarantee: many callers share a connection without waiting for each other. A cancelled call never
//! shifts another call's reply. A push that the server sent before a reply is delivered before that reply.
//! After the end of the connection, every caller gets an error. A call ends by its deadline.

mod own;
#[cfg(feature = "redis-wire")]
mod redis;
mod traffic;

use std::sync::Arc;

use cache_core::CacheError;

pub(crate) use own::Stream;
#[cfg(fuzzing)]
pub(crate) use own::messages as own_messages;
pub(crate) use traffic::Traffic;

use crate::command::Command;
use crate::deadline::Deadline;
use crate::reply::{Reply, ServerError};

/// Receives the events of a connection other than replies. Called on the task that reads the connection, so
/// it must be quick and must not block.
pub(crate) trait Events: Send + Sync + 'static {
    /// Called for a push of the server, such as an invalidation or a channel message.
    fn on_push(&self, kind: &str, data: Vec<Reply>);
    /// Called once, last, when the connection has ended.
    fn on_closed(&self);
}

/// Ignores all events: for short-lived connections that only send a few commands.
pub(crate) struct IgnoreEvents;

impl Events for IgnoreEvents {
    fn on_push(&self, _kind: &str, _data: Vec<Reply>) {}

    fn on_closed(&self) {}
}

/// What a connection sends to the server before it is used.
#[derive(Clone, Copy)]
pub(crate) struct Handshake<'a> {
    pub(crate) username: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
    /// The name of the connection. It is sent with `HELLO`, which needs no extra permission; the wire over
    /// the `redis` crate does not send it.
    pub(crate) client_name: Option<&'a str>,
    pub(crate) protocol: Protocol,
}

/// The protocol version to start with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// `HELLO 3`; RESP2 if the server answers that it does not know `HELLO`.
    Resp3,
    /// RESP2 without asking, for servers and proxies that hang up on `HELLO`.
    Resp2,
}

/// The outcome of the handshake.
#[derive(Debug)]
pub(crate) enum Negotiated {
    /// RESP3, with the reply to `HELLO`.
    Resp3(Reply),
    /// RESP2, which has no pushes.
    Resp2,
}

/// Why a handshake failed.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// The server refused with this error.
    Refused(ServerError),
    /// The server did not answer in time.
    TimedOut,
    /// The server hung up without a reply; with the I/O error, if there was one.
    HungUp(Option<cache_core::ErrorSource>),
    /// The connection ended before the server answered.
    Ended(cache_core::ErrorSource),
    /// The server's reply is not the Redis protocol.
    NotTheProtocol(cache_core::ErrorSource),
}

/// Which protocol implementation a client uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wire {
    /// This crate's implementation.
    #[default]
    Own,
    /// The implementation over the `redis` crate, for comparison: RESP3 only, and without back-pressure in
    /// bytes.
    #[cfg(feature = "redis-wire")]
    Redis,
}

/// One connection to one server, shared by any number of callers.
#[derive(Debug)]
pub(crate) enum Connection {
    Own(own::Connection),
    #[cfg(feature = "redis-wire")]
    Redis(Box<redis::Connection>),
}

impl Connection {
    /// Performs the handshake over `stream` and starts the connection's task on the current runtime.
    pub(crate) async fn open(
        wire: Wire,
        stream: Stream,
        handshake: &Handshake<'_>,
        events: Arc<dyn Events>,
        deadline: Deadline,
    ) -> Result<(Self, Negotiated), HandshakeError> {
        match wire {
            Wire::Own => {
                let (connection, negotiated) =
                    own::Connection::open(stream, handshake, events, deadline).await?;
                Ok((Self::Own(connection), negotiated))
            }
            #[cfg(feature = "redis-wire")]
            Wire::Redis => {
                let (connection, negotiated) =
                    redis::Connection::open(stream, handshake, events, deadline).await?;
                Ok((Self::Redis(Box::new(connection)), negotiated))
            }
        }
    }

    /// Sends one command and waits for its reply, until `deadline`. Cancel safe.
    pub(crate) async fn send(&self, command: &Command<'_>, deadline: Deadline) -> Result<Reply, CacheError> {
        match self {
            Self::Own(connection) => connection.send(command, deadline).await,
            #[cfg(feature = "redis-wire")]
            Self::Redis(connection) => Box::pin(connection.send(command, deadline)).await,
        }
    }

    /// As [`send_batch`](Self::send_batch), with a result for each command.
    pub(crate) async fn send_each(
        &self,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Vec<Result<Reply, CacheError>> {
        match self {
            Self::Own(connection) => connection.send_each(commands, deadline).await,
            #[cfg(feature = "redis-wire")]
            Self::Redis(connection) => match Box::pin(connection.send_batch(commands, deadline)).await {
                Ok(replies) => replies.into_iter().map(Ok).collect(),
                Err(error) => std::iter::repeat_n(error, commands.len()).map(Err).collect(),
            },
        }
    }

    /// Sends commands as one pipeline and waits for all replies, until `deadline`. Cancel safe.
    pub(crate) async fn send_batch(
        &self,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Reply>, CacheError> {
        match self {
            Self::Own(connection) => connection.send_batch(commands, deadline).await,
            #[cfg(feature = "redis-wire")]
            Self::Redis(connection) => Box::pin(connection.send_batch(commands, deadline)).await,
        }
    }

    /// Closes the connection at once. Calls in flight get an error.
    pub(crate) fn close(&self) {
        match self {
            Self::Own(connection) => connection.close(),
            #[cfg(feature = "redis-wire")]
            Self::Redis(connection) => connection.close(),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Own(connection) => connection.is_closed(),
            #[cfg(feature = "redis-wire")]
            Self::Redis(connection) => connection.is_closed(),
        }
    }

    /// The connection's traffic counters.
    pub(crate) fn traffic(&self) -> &Traffic {
        match self {
            Self::Own(connection) => connection.traffic(),
            #[cfg(feature = "redis-wire")]
            Self::Redis(connection) => connection.traffic(),
        }
    }
}

#[cfg(test)]
mod tests;
