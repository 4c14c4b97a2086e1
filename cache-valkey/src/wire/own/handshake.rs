//! The handshake: RESP3 with `HELLO`, or RESP2 with servers that do not know it.

use std::io;
use std::sync::Arc;

use futures::future::join;

use super::Connection;
use super::shared::End;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::reply::{Reply, ServerError};
use crate::wire::{Handshake, HandshakeError, Negotiated, Protocol};

impl Connection {
    pub(super) async fn shake_hands(
        &self,
        handshake: &Handshake<'_>,
        deadline: Deadline,
    ) -> Result<Negotiated, HandshakeError> {
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
            // Sent separately, because a server that hangs up answers it with the reason.
            let (negotiated, _named) = join(
                self.shake(&hello, deadline),
                // Servers without `SETINFO` are fine.
                self.send_batch(&[&name, &version], deadline),
            )
            .await;
            return match negotiated? {
                Reply::Error(error) if knows_no_hello(&error) => self.log_in(handshake, deadline).await,
                Reply::Error(error) => Err(HandshakeError::Refused(*error)),
                reply => Ok(Negotiated::Resp3(reply)),
            };
        }
        self.log_in(handshake, deadline).await
    }

    /// The RESP2 handshake.
    async fn log_in(
        &self,
        handshake: &Handshake<'_>,
        deadline: Deadline,
    ) -> Result<Negotiated, HandshakeError> {
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
            _ => Ok(Negotiated::Resp2),
        }
    }

    async fn shake(&self, command: &Command<'_>, deadline: Deadline) -> Result<Reply, HandshakeError> {
        let reply = self.send(command, deadline).await;
        reply.map_err(|error| match self.shared.state().end.clone() {
            Some(End::ServerError(words)) => HandshakeError::Refused(words),
            Some(End::Peer) => HandshakeError::HungUp(None),
            // A peer that hangs up before reading everything resets the connection.
            Some(End::Io(source)) if is_reset(&source) => HandshakeError::HungUp(Some(source)),
            Some(End::Io(source)) => HandshakeError::Ended(source),
            Some(End::Protocol(source)) => HandshakeError::NotTheProtocol(Arc::new(source)),
            _ => HandshakeError::Ended(Arc::new(error)),
        })
    }
}

/// Whether the peer reset the connection.
fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
    )
}

/// Whether a server does not know `HELLO` (older than Redis 6) or this protocol version.
fn knows_no_hello(error: &ServerError) -> bool {
    let words = error.detail.to_ascii_lowercase();
    error.code == "NOPROTO" || (error.code == "ERR" && words.starts_with("unknown command"))
}
