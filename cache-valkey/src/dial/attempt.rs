//! Connects to an address: tries the IP addresses of its name, logs in, and checks the server.
//!
//! Not in here: the commands after the handshake, see `setup.rs`; error texts, see `failure.rs`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::config::Address;
use cache_core::credentials::Credentials;
use cache_core::{CacheError, Unavailability};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::addresses::Endpoint;
use super::failure::unreachable;
use super::{Dialed, Dialer, Login, Mode};
use crate::deadline::Deadline;
use crate::identity::Expected;
use crate::wire::{Connection, Events, Handshake, HandshakeError, Protocol, Stream};

impl Dialer {
    /// Connects to `address`. If the server refuses the credentials and there are newer ones, tries once
    /// more. All attempts together take at most the dial timeout.
    ///
    /// If a name has several addresses, the first one with the right server is used. If a primary is wanted
    /// and only replicas answer, the first replica is used.
    pub(crate) async fn dial(
        &self,
        address: &Address,
        mode: Mode,
        expected: &Expected,
        events: Arc<dyn Events>,
    ) -> Result<Dialed, CacheError> {
        let deadline = Deadline::after(self.limits.dial_timeout);
        let reachable = self.origins.map.reachable(address);
        let found = tokio::time::timeout_at(deadline.at(), self.look_up(address, &reachable)).await;
        let targets = found.unwrap_or_else(|_| {
            let detail = "no answer from the name service within the dial timeout";
            Err(unreachable(address, Unavailability::Resolve, detail, None))
        })?;
        let issued = tokio::time::timeout_at(deadline.at(), self.login()).await;
        let mut login = issued.unwrap_or_else(|_| {
            let detail = "no credentials were issued within the dial timeout";
            Err(unreachable(address, Unavailability::Connect, detail, None))
        })?;
        let endpoint = Endpoint {
            address,
            host: &reachable.host,
        };
        let (mut last, mut second_best) = (None, None);
        let mut has_reread = false;
        for (index, target) in targets.iter().enumerate() {
            // The remaining time is divided, so that one silent address leaves time for the others.
            let left = u32::try_from(targets.len() - index).unwrap_or(u32::MAX);
            let until = clock::now() + deadline.remaining() / left;
            // On the heap, because a handshake's future is large and connecting is rare.
            let mut reached =
                Box::pin(self.log_in_to(endpoint, *target, until, mode, expected, &mut login, &events)).await;
            // Certificates may just have been replaced on both sides.
            if !has_reread && is_of_tls(&reached) && self.reread_certificates().await {
                has_reread = true;
                reached =
                    Box::pin(self.log_in_to(endpoint, *target, until, mode, expected, &mut login, &events))
                        .await;
            }
            match reached {
                Ok(dialed) if self.is_second_best(&dialed, mode) => {
                    second_best.get_or_insert(dialed);
                }
                // A permanent error would be the same at the other addresses.
                Err(error) if error.is_transient() => last = Some(error),
                Err(error) => return Err(self.with_origin(address, &reachable, error)),
                dialed => return dialed,
            }
        }
        if let Some(dialed) = second_best {
            return Ok(dialed);
        }
        let last = last.unwrap_or_else(|| {
            unreachable(address, Unavailability::Resolve, "the name has no address", None)
        });
        Err(self.with_origin(address, &reachable, last))
    }

    /// Connects to `target`, logs in, and checks that it is the right server.
    #[expect(
        clippy::too_many_arguments,
        reason = "what a try to connect depends on, used in one place"
    )]
    async fn log_in_to(
        &self,
        endpoint: Endpoint<'_>,
        target: SocketAddr,
        until: Instant,
        mode: Mode,
        expected: &Expected,
        login: &mut Login<'_>,
        events: &Arc<dyn Events>,
    ) -> Result<Dialed, CacheError> {
        let dialed = self.log_in(endpoint, target, until, mode, login, events).await?;
        self.check_server(endpoint.address, dialed, expected, Deadline::until(until))
            .await
    }

    /// Connects to one IP address of the endpoint, and tries newer credentials if the first ones are refused.
    async fn log_in(
        &self,
        endpoint: Endpoint<'_>,
        target: SocketAddr,
        until: Instant,
        mode: Mode,
        login: &mut Login<'_>,
        events: &Arc<dyn Events>,
    ) -> Result<Dialed, CacheError> {
        loop {
            let who = login.credentials();
            let reached = self
                .reach(endpoint, target, until, mode, who, Arc::clone(events))
                .await;
            if let Some(dialed) = login.settle(reached, until).await? {
                return Ok(dialed);
            }
        }
    }

    /// Connects to one IP address of the endpoint. A timeout names the step that took too long.
    ///
    /// A server that hangs up on `HELLO` gets it a second time. After that it is taken for a proxy that
    /// speaks RESP2 only.
    async fn reach(
        &self,
        endpoint: Endpoint<'_>,
        target: SocketAddr,
        until: Instant,
        mode: Mode,
        credentials: Option<&Credentials>,
        events: Arc<dyn Events>,
    ) -> Result<Dialed, CacheError> {
        let mut first_failure = None;
        for protocol in [Protocol::Resp3, Protocol::Resp3, Protocol::Resp2] {
            let stream = self.open(endpoint, target, until).await?;
            let handshake = Handshake {
                username: credentials.and_then(|known| known.username.as_deref()),
                password: credentials.map(|known| known.password.expose().as_str()),
                client_name: self.client_name.as_deref(),
                protocol,
            };
            let deadline = Deadline::until(until);
            let opened = Connection::open(self.wire, stream, &handshake, Arc::clone(&events), deadline);
            let opened = tokio::time::timeout_at(until, opened).await;
            let error = match opened {
                Ok(Ok((connection, negotiated))) => {
                    return self
                        .prepare(connection, negotiated, mode, credentials, deadline)
                        .await;
                }
                Ok(Err(error)) => error,
                Err(_) => HandshakeError::TimedOut,
            };
            let has_hung_up = matches!(error, HandshakeError::HungUp(_));
            let error = self.refused(endpoint, error);
            let error = first_failure.take().unwrap_or(error);
            if !has_hung_up {
                return Err(error);
            }
            first_failure = Some(error);
        }
        Err(first_failure.unwrap_or(CacheError::Closed))
    }

    /// Opens a stream to `target`, with TLS if configured.
    async fn open(
        &self,
        endpoint: Endpoint<'_>,
        target: SocketAddr,
        until: Instant,
    ) -> Result<Stream, CacheError> {
        let late = |detail| unreachable(endpoint.address, Unavailability::Connect, detail, None);
        let stream = match tokio::time::timeout_at(until, open(target)).await {
            Ok(opened) => opened.map_err(|error| {
                let detail = error.kind().to_string();
                unreachable(endpoint.address, Unavailability::Connect, &detail, Some(error))
            })?,
            Err(_) => return Err(late("no answer within the dial timeout")),
        };
        let Some(tls) = &self.tls else {
            return Ok(Stream::Tcp(stream));
        };
        let secured = tokio::time::timeout_at(until, tls.secure(endpoint.host, stream)).await;
        let stream = secured.unwrap_or_else(|_| {
            Err(late(
                "which accepts connections but does not answer the TLS handshake; set CACHE_TLS_ENABLED=false or use its TLS port",
            ))
        })?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

fn is_of_tls(dialed: &Result<Dialed, CacheError>) -> bool {
    matches!(
        dialed,
        Err(CacheError::Unavailable {
            reason: Unavailability::Tls,
            ..
        })
    )
}

/// How long the kernel retransmits to a peer that acknowledges nothing.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

async fn open(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(15))
        .with_interval(Duration::from_secs(5));
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(stream)
}
