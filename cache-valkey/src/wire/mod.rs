//! The wire: the one small interface through which everything above speaks to a server.
//!
//! [`Connection`] sends one command or a batch and gets the replies; [`Events`] hears of pushes and of the end, in the
//! order of the connection. There are two implementations: [`own`] is what is used; the one over the `redis` crate
//! (feature `redis-wire`) is there to be compared with, in tests and benchmarks. Nothing above this folder knows which
//! one it is.
//!
//! What both promise: many callers share a connection without waiting for each other. A caller that goes away never
//! shifts another's reply. A push that the server sent before a reply is handed over before that reply. After the end
//! every caller gets an error. A call ends by its deadline.

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

/// Hears what happens on a connection besides replies. Called on the task that reads the connection: it
/// must be quick and must not block.
pub(crate) trait Events: Send + Sync + 'static {
    /// A push of the server, such as an invalidation or a message of a channel.
    fn on_push(&self, kind: &str, data: Vec<Reply>);
    /// The connection has ended. Called once, last.
    fn on_closed(&self);
}

/// What a connection says of itself to the server before it is used.
#[derive(Clone, Copy)]
pub(crate) struct Handshake<'a> {
    pub(crate) username: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
    pub(crate) protocol: Protocol,
}

/// The version of the protocol to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// `HELLO 3`; the older version if the server answers that it knows no `HELLO`.
    Resp3,
    /// The older version, without asking: for servers and proxies that hang up when they read `HELLO`.
    Resp2,
}

/// How the server has answered.
#[derive(Debug)]
pub(crate) enum Greeted {
    /// With the reply to `HELLO`.
    Resp3(Reply),
    /// In the older version, which knows no pushes.
    Resp2,
}

/// Why a handshake failed.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// The server refused, in its own words.
    Refused(ServerError),
    /// The server did not answer in time.
    Late,
    /// The server hung up without a word; what the system said, if it said anything.
    HungUp(Option<cache_core::ErrorSource>),
    /// The connection ended before the server answered.
    Ended(cache_core::ErrorSource),
    /// What came back is not the protocol.
    NotTheProtocol(cache_core::ErrorSource),
}

/// Which implementation a client uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wire {
    /// The one of this crate.
    #[default]
    Own,
    /// The one over the `redis` crate, to compare with: RESP3 only, and without back-pressure in bytes.
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
    /// Shakes hands over `stream` and starts the connection's task on the current runtime.
    pub(crate) async fn open(
        wire: Wire,
        stream: Stream,
        handshake: &Handshake<'_>,
        events: Arc<dyn Events>,
        deadline: Deadline,
    ) -> Result<(Self, Greeted), HandshakeError> {
        match wire {
            Wire::Own => {
                let (connection, greeted) =
                    own::Connection::open(stream, handshake, events, deadline).await?;
                Ok((Self::Own(connection), greeted))
            }
            #[cfg(feature = "redis-wire")]
            Wire::Redis => {
                let (connection, greeted) =
                    redis::Connection::open(stream, handshake, events, deadline).await?;
                Ok((Self::Redis(Box::new(connection)), greeted))
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

    /// Ends the connection at once; calls under way get an error.
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

    /// What is known of the connection's traffic.
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
