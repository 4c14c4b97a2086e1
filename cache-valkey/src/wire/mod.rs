//! The wire: the one small interface through which everything above speaks to a server.
//!
//! [`Connection`] sends one command or a batch and gets the replies; [`Events`] hears of pushes and of
//! the end, in the order of the connection. Nothing above this folder names the crate that does the
//! work, so that it can be replaced and both be measured side by side.
//!
//! What a replacement must keep: many callers share a connection without waiting for each other; a
//! caller that goes away never shifts another's reply; a push that the server sent before a reply is
//! handed over before that reply; after the end every caller in flight gets an error.

mod gather;
mod redis;

pub(crate) use redis::Connection;

use crate::reply::Reply;

/// Hears what happens on a connection besides replies. Called on the task that reads the connection: it
/// must be quick and must not block.
pub(crate) trait Events: Send + Sync + 'static {
    /// A push of the server, such as an invalidation or a message of a channel.
    fn on_push(&self, kind: &str, data: Vec<Reply>);
    /// The connection has ended. Called once, last.
    fn on_closed(&self);
}

/// What a connection says of itself to the server before it is used.
pub(crate) struct Handshake<'a> {
    pub(crate) username: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
}

/// Why a handshake failed.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// The server refused, in its own words.
    Refused(crate::reply::ServerError),
    /// The server does not know the protocol's version 3.
    TooOld,
    /// The connection ended before the server answered.
    Ended(cache_core::ErrorSource),
    /// What came back is not the protocol.
    NotTheProtocol(cache_core::ErrorSource),
}
