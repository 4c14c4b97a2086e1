//! TLS of the listener, by `rustls`: 1.2 or newer, from PEM files that may change.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{ListenerError, TlsFiles};
use crate::access::CertificateIdentity;

/// TLS by files, as they were when they were last looked into.
pub(super) struct Tls {
    files: TlsFiles,
    now: RwLock<(Contents, TlsAcceptor)>,
}

/// What stands in the files.
#[derive(PartialEq)]
struct Contents {
    certificate: Vec<u8>,
    key: cache_core::Secret<Vec<u8>>,
    authorities: Option<Vec<u8>>,
}

impl Tls {
    pub(super) fn new(files: TlsFiles) -> Result<Self, ListenerError> {
        let contents = Contents::read(&files)?;
        let acceptor = acceptor(&files, &contents)?;
        Ok(Self {
            files,
            now: RwLock::new((contents, acceptor)),
        })
    }

    /// Looks into the files again; whether they say something else. Connections that are open stay as they are.
    pub(super) fn reload(&self) -> Result<bool, ListenerError> {
        let contents = Contents::read(&self.files)?;
        if self.now.read().unwrap_or_else(PoisonError::into_inner).0 == contents {
            return Ok(false);
        }
        let acceptor = acceptor(&self.files, &contents)?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = (contents, acceptor);
        Ok(true)
    }

    /// Secures a stream, and says who the client is, where it shows a certificate.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Option<CertificateIdentity>)> {
        let acceptor = self.now.read().unwrap_or_else(PoisonError::into_inner).1.clone();
        let stream = acceptor.accept(stream).await?;
        let shown = stream.get_ref().1.peer_certificates();
        let shown = shown.and_then(|chain| chain.first());
        let identity = shown.and_then(|certificate| CertificateIdentity::from_der(certificate));
        Ok((stream, identity))
    }
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, ListenerError> {
        let read = |path: &Path| {
            std::fs::read(path)
                .map_err(|error| ListenerError::file(path, &format!("cannot be read: {}", error.kind())))
        };
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: cache_core::Secret::new(read(&files.key)?),
            authorities: files.client_authorities.as_deref().map(read).transpose()?,
        })
    }
}

fn acceptor(files: &TlsFiles, contents: &Contents) -> Result<TlsAcceptor, ListenerError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = certificates(&files.certificate, &contents.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(contents.key.expose())
        .map_err(|_| ListenerError::file(&files.key, "holds no private key in PEM that is not encrypted"))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| ListenerError::new(format!("TLS: {error}")))?;
    let builder = match (&files.client_authorities, &contents.authorities) {
        (Some(path), Some(pem)) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path, pem)? {
                roots
                    .add(authority)
                    .map_err(|error| ListenerError::file(path, &format!("is no authority: {error}")))?;
            }
            // Without one a token is needed: who may come in is not decided here.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| ListenerError::file(path, &error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        ListenerError::file(&files.certificate, &format!("does not go with the key: {error}"))
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ListenerError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(read) if !read.is_empty() => Ok(read),
        _ => Err(ListenerError::file(path, "holds no certificate in PEM")),
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}
