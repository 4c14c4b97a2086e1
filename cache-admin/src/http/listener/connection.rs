//! One connection: its handshake, its requests, its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::body::Patient;
use super::crowd::Standing;
use super::paced::Paced;
use super::peer::forwarded_for;
use super::tls::Tls;
use super::{ListenerOptions, Peer};

/// The most that the head of a request may take: the longest target there can be, and as much again in headers.
const MAX_HEAD: usize = 128 * 1024;

/// A large answer, in bytes. On a connection without a login it is the last one: many requests sent at once would make the
/// service produce many of them at little cost for the client.
const LARGE: u64 = 16 * 1024;

/// What all connections have in common.
pub(super) struct Connections {
    pub(super) router: Router,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) options: ListenerOptions,
    /// Whether no further request is to be taken.
    pub(super) stopped: watch::Receiver<bool>,
}

impl Connections {
    /// Serves one connection to its end. What goes wrong on it is the peer's business.
    pub(super) async fn serve(self: Arc<Self>, stream: TcpStream, address: SocketAddr, standing: &Standing) {
        // Answers are small and whole.
        let _ = stream.set_nodelay(true);
        let mut peer = Peer {
            address,
            forwarded: None,
            certificate: None,
        };
        let Some(tls) = &self.tls else {
            return self.talk(stream, peer, standing).await;
        };
        let handshake = tokio::select! {
            handshake = tokio::time::timeout(self.options.handshake_timeout, tls.accept(stream)) => handshake,
            () = self.stopping() => return,
        };
        match handshake {
            Ok(Ok((stream, certificate))) => {
                peer.certificate = certificate;
                self.talk(stream, peer, standing).await;
            }
            Ok(Err(error)) => tracing::debug!(%address, %error, "a TLS handshake failed"),
            Err(_) => tracing::debug!(%address, "a TLS handshake took too long"),
        }
    }

    async fn talk(&self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: Peer, standing: &Standing) {
        let address = peer.address;
        let service = service_fn(|request: http::Request<Incoming>| self.answer(request, &peer, standing));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.options.header_timeout)
            .max_buf_size(MAX_HEAD)
            .serve_connection(
                TokioIo::new(Paced::new(stream, self.options.write_timeout)),
                service,
            );
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.stopping() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%address, %error, "a connection broke");
        }
    }

    /// Ends when the listener is to stop.
    async fn stopping(&self) {
        // Where the listener is gone it is over as well.
        let _ = self.stopped.clone().wait_for(|stopped| *stopped).await;
    }

    async fn answer(
        &self,
        request: http::Request<Incoming>,
        peer: &Peer,
        standing: &Standing,
    ) -> Result<Response, Infallible> {
        let mut peer = peer.clone();
        if self.options.behind_proxy {
            peer.forwarded = forwarded_for(request.headers());
        }
        let patience = self.options.header_timeout;
        let mut request = request.map(|body| Body::new(Patient::new(body, patience)));
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(standing.clone());
        let mut response = self.router.clone().oneshot(request).await?;
        let is_large = response.body().size_hint().lower() > LARGE;
        if is_large && !standing.is_trusted() {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}
