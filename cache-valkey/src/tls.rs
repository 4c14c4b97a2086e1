//! TLS by `rustls`: which authorities are trusted, what the client shows, and what went wrong in words.
//!
//! Host names are always verified; there is no switch. TLS 1.2 is the least.

use std::error::Error;
use std::io;
use std::sync::Arc;

use cache_core::config::TlsConfig;
use cache_core::{CacheError, ConfigError, ErrorSource, Outcome, Unavailability};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Secures streams as a [`TlsConfig`] says.
#[derive(Clone)]
pub(crate) struct Tls {
    connector: TlsConnector,
    /// Whether the authorities are the configuration's own, not the system's.
    own_roots: bool,
}

impl Tls {
    /// Reads the certificates. Errors name the variable that carries them.
    pub(crate) fn new(config: &TlsConfig) -> Result<Self, CacheError> {
        Self::built(config, builder()?.with_root_certificates(roots(config)?))
    }

    /// As [`new`](Self::new), and `verifier` decides whether a server is what it says.
    pub(crate) fn with_verifier(
        config: &TlsConfig,
        verifier: Arc<dyn ServerCertVerifier>,
    ) -> Result<Self, CacheError> {
        let builder = builder()?.dangerous();
        Self::built(config, builder.with_custom_certificate_verifier(verifier))
    }

    fn built(
        config: &TlsConfig,
        builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    ) -> Result<Self, CacheError> {
        let client = match &config.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = certificates("CACHE_CLIENT_CERT_BASE64", &identity.certificate_pem)?;
                let key = PrivateKeyDer::from_pem_slice(identity.key_pem.expose()).map_err(|_| {
                    wrong(
                        "CACHE_CLIENT_KEY_BASE64",
                        "not a private key; expected base64 of a PEM private key",
                    )
                })?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    wrong(
                        "CACHE_CLIENT_CERT_BASE64",
                        &format!("does not go with CACHE_CLIENT_KEY_BASE64: {error}"),
                    )
                })?
            }
        };
        Ok(Self {
            connector: TlsConnector::from(Arc::new(client)),
            own_roots: config.ca_pem.is_some(),
        })
    }

    /// Secures `stream`, whose peer must prove to be `host`.
    pub(crate) async fn secure(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, CacheError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            wrong(
                "CACHE_ADDRS",
                &format!("{host} is no host name that a certificate could carry"),
            )
        })?;
        self.connector
            .connect(name, stream)
            .await
            .map_err(|error| self.failed(host, error))
    }

    /// What a failed handshake, or an alert after it, means; `None` where TLS is not what failed.
    pub(crate) fn explain(&self, error: &(dyn Error + 'static), host: &str) -> Option<String> {
        find(error).map(|error| words(error, host, self.own_roots))
    }

    fn failed(&self, host: &str, error: io::Error) -> CacheError {
        match self.explain(&error, host) {
            Some(detail) => insecure(detail, Some(Arc::new(error))),
            None if error.kind() == io::ErrorKind::UnexpectedEof => insecure(
                format!("{host} closed the connection during the TLS handshake; is it a TLS port?"),
                Some(Arc::new(error)),
            ),
            None => CacheError::Unavailable {
                reason: Unavailability::Connect,
                detail: format!("{host} during the TLS handshake").into(),
                outcome: Outcome::NotApplied,
                source: Some(Arc::new(error)),
            },
        }
    }
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, CacheError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("CACHE_TLS_ENABLED", &error.to_string()))
}

/// The same decision as in [`Tls::new`], for whoever wants to look on: chain, dates and host name, by the authorities of `config`.
pub(crate) fn verifier(config: &TlsConfig) -> Result<Arc<WebPkiServerVerifier>, CacheError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots(config)?), provider)
        .build()
        .map_err(|error| wrong("CACHE_CA_CERT_BASE64", &error.to_string()))
}

/// The error of TLS among an error and its causes.
fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        // Two kinds of box that name as their source not what is in them but the source of that.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let shared = error.downcast_ref::<ErrorSource>();
        cause = match (inner, shared) {
            (Some(inner), _) => Some(inner),
            (_, Some(shared)) => Some(&**shared),
            _ => error.source(),
        };
    }
    None
}

/// The error of a connection that could not be secured, or was refused over it.
pub(crate) fn insecure(detail: String, source: Option<ErrorSource>) -> CacheError {
    CacheError::Unavailable {
        reason: Unavailability::Tls,
        detail: detail.into(),
        outcome: Outcome::NotApplied,
        source,
    }
}

fn words(error: &rustls::Error, host: &str, own_roots: bool) -> String {
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer | CertificateError::BadSignature if own_roots => {
                format!(
                    "the certificate of {host} is signed by none of the authorities in CACHE_CA_CERT_BASE64"
                )
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "the certificate of {host} is signed by no authority that this system trusts; set \
                 CACHE_CA_CERT_BASE64"
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("the certificate of the server is not for {host}; use a host name that it carries")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("the certificate of {host} has expired")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("the certificate of {host} is not valid yet; check the clocks")
            }
            CertificateError::Revoked => format!("the certificate of {host} is revoked"),
            other => format!("the certificate of {host} cannot be accepted: {other}"),
        },
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => format!(
            "{host} asks for a client certificate; set CACHE_CLIENT_CERT_BASE64 and CACHE_CLIENT_KEY_BASE64"
        ),
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown,
        ) => format!("{host} does not accept the client certificate in CACHE_CLIENT_CERT_BASE64"),
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(_) => format!("{host} speaks no TLS version from 1.2 on"),
        rustls::Error::InvalidMessage(_) => {
            format!("{host} does not speak TLS on this port; set CACHE_TLS_ENABLED=false or use its TLS port")
        }
        other => format!("{host}: {other}"),
    }
}

fn roots(config: &TlsConfig) -> Result<RootCertStore, CacheError> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = &config.ca_pem {
        for certificate in certificates("CACHE_CA_CERT_BASE64", pem)? {
            roots.add(certificate).map_err(|error| {
                wrong(
                    "CACHE_CA_CERT_BASE64",
                    &format!("not usable as an authority: {error}"),
                )
            })?;
        }
    } else {
        let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            return Err(wrong(
                "CACHE_CA_CERT_BASE64",
                "the system has no trusted authorities; set it to base64 of the authority's PEM certificate",
            ));
        }
    }
    Ok(roots)
}

fn certificates(variable: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CacheError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| {
            wrong(
                variable,
                "not readable as certificates; expected base64 of PEM certificates",
            )
        })?;
    if chain.is_empty() {
        return Err(wrong(
            variable,
            "holds no certificate; expected base64 of PEM certificates",
        ));
    }
    Ok(chain)
}

fn wrong(variable: &'static str, message: &str) -> CacheError {
    CacheError::Config(ConfigError::one(variable, message))
}
