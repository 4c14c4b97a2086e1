//! Fetches the certificates that a server presents, and checks whether the client would accept them.
//!
//! Administration uses this to warn before a certificate expires, and to explain why one is refused. The connection
//! is made exactly as the client makes one, with the same trust roots. Only the certificates are kept.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cache_core::config::TlsConfig;
use cache_core::{CacheError, Stage};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::tls::{self, Tls};

/// The certificates that a server server_certificates.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerCertificates {
    /// The certificates in DER, the server's own first. Empty if the handshake did not get that far.
    pub chain: Vec<Bytes>,
    /// Why no secure connection is possible, if so.
    pub refused: Option<CacheError>,
}

/// Fetches the certificates of the server at `target`, which must prove to be `host`.
///
/// # Errors
///
/// [`CacheError::Config`] if `config` cannot be used, [`CacheError::Timeout`] if the server does not answer in time.
///
/// # Cancel safety
///
/// Cancel safe.
pub async fn server_certificates(
    config: &TlsConfig,
    host: &str,
    target: SocketAddr,
    within: Duration,
) -> Result<ServerCertificates, CacheError> {
    let config = &tls::with_files(config)?;
    let recorder = Arc::new(Recorder {
        verifier: tls::verifier(config)?,
        seen: Mutex::default(),
    });
    let verifier: Arc<dyn ServerCertVerifier> = recorder.clone();
    let tls = Tls::with_verifier(config, verifier)?;
    let refused = tokio::time::timeout(within, try_it(&tls, host, target)).await;
    let chain = std::mem::take(&mut *recorder.seen.lock().unwrap_or_else(PoisonError::into_inner));
    match refused {
        Ok(result) => Ok(ServerCertificates {
            chain,
            refused: result.err(),
        }),
        Err(_) => Err(CacheError::Timeout {
            stage: Stage::Connect,
            after: within,
        }),
    }
}

async fn try_it(tls: &Tls, host: &str, target: SocketAddr) -> Result<(), CacheError> {
    let lost = |error: std::io::Error| match tls.explain(&error, host) {
        Some(detail) => tls::insecure(detail, Some(Arc::new(error))),
        None => tls::insecure(
            format!("{target}: the connection ended during the handshake"),
            Some(Arc::new(error)),
        ),
    };
    let stream = TcpStream::connect(target).await.map_err(lost)?;
    let mut stream = Box::pin(tls.secure(host, stream)).await?;
    // A server reports its verdict on the client's certificate only with its first answer.
    stream.write_all(b"PING\r\n").await.map_err(lost)?;
    stream.read_u8().await.map_err(lost)?;
    Ok(())
}

/// Verifies as always, and records the certificates.
#[derive(Debug)]
struct Recorder {
    verifier: Arc<WebPkiServerVerifier>,
    seen: Mutex<Vec<Bytes>>,
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = std::iter::once(end_entity).chain(intermediates);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = shown
            .map(|certificate| Bytes::copy_from_slice(certificate))
            .collect();
        self.verifier
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
