//! TLS with `rustls`: trusted authorities, the client certificate, and reloading of their files.
//!
//! Host names are always verified, and TLS 1.2 is the minimum. Not in here: error texts, see `explain`.

mod explain;

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use cache_core::config::TlsConfig;
use cache_core::{CacheError, ConfigError, ErrorSource, Outcome, Unavailability};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Secures streams as a [`TlsConfig`] says. Certificate files are read again for each stream.
#[derive(Clone)]
pub(crate) struct Tls {
    current: Arc<ArcSwap<Material>>,
    /// Why the files could not be used last time.
    trouble: Arc<Mutex<Option<String>>>,
}

/// A configuration and the connector built from it.
struct Material {
    config: TlsConfig,
    connector: TlsConnector,
}

impl Tls {
    /// Reads the certificates. Errors name the variable that holds them.
    pub(crate) fn new(config: &TlsConfig) -> Result<Self, CacheError> {
        Material::new(with_files(config)?).map(Self::of)
    }

    /// As [`new`](Self::new), with `verifier` to verify server certificates.
    pub(crate) fn with_verifier(
        config: &TlsConfig,
        verifier: Arc<dyn ServerCertVerifier>,
    ) -> Result<Self, CacheError> {
        let builder = builder()?.dangerous();
        let builder = builder.with_custom_certificate_verifier(verifier);
        Material::built(config.clone(), builder).map(Self::of)
    }

    fn of(material: Material) -> Self {
        Self {
            current: Arc::new(ArcSwap::from_pointee(material)),
            trouble: Arc::default(),
        }
    }

    /// Reads the files again. Returns whether they changed. If they cannot be read, or do not match because
    /// only some have been replaced so far, the previous ones stay in use.
    pub(crate) async fn reread(&self) -> bool {
        let known = self.current.load_full();
        if known.config.files.is_empty() {
            return false;
        }
        let config = known.config.clone();
        // A file may be on a network, so reading must not block an async thread.
        let read = tokio::task::spawn_blocking(move || {
            let new = config.read_again()?;
            if new == config {
                Ok(None)
            } else {
                Material::new(new).map(Some)
            }
        });
        let Ok(read) = read.await else { return false };
        let why = match read {
            Ok(new) => {
                let had_trouble = self.trouble().take().is_some();
                let Some(new) = new else {
                    if had_trouble {
                        tracing::info!("the certificate files can be used again");
                    }
                    return false;
                };
                self.current.store(Arc::new(new));
                tracing::info!("the certificate files have changed; new connections use what is in them now");
                return true;
            }
            Err(error) => error.to_string(),
        };
        if self.trouble().replace(why.clone()).as_ref() != Some(&why) {
            tracing::warn!("{why}; what was read before stays in use");
        }
        false
    }

    /// Secures `stream`. The peer must prove to be `host`, or the configured server name.
    pub(crate) async fn secure(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, CacheError> {
        self.reread().await;
        let current = self.current.load_full();
        let (variable, name) = match &current.config.server_name {
            Some(name) => ("CACHE_TLS_SERVER_NAME", name.as_str()),
            None => ("CACHE_ADDRS", host),
        };
        // IPv6 addresses with a port are written in brackets.
        let bare = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(|_| {
            wrong(
                variable,
                &format!("{name} is not a host name that a certificate could carry"),
            )
        })?;
        let secured = current.connector.connect(name, stream).await;
        secured.map_err(|error| self.failed(host, error))
    }

    /// Explains a failed handshake, or an alert after it; `None` if the failure was not in TLS.
    pub(crate) fn explain(&self, error: &(dyn Error + 'static), host: &str) -> Option<String> {
        let current = self.current.load();
        let config = &current.config;
        let context = explain::Context {
            name: config.server_name.as_deref().unwrap_or(host),
            is_own_name: config.server_name.is_some(),
            own_roots: config.ca_pem.is_some(),
            shows_certificate: config.identity.is_some(),
        };
        find(error).map(|error| explain::explain(error, host, context))
    }

    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Material {
    fn new(config: TlsConfig) -> Result<Self, CacheError> {
        let builder = builder()?.with_root_certificates(roots(&config)?);
        Self::built(config, builder)
    }

    fn built(
        config: TlsConfig,
        builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    ) -> Result<Self, CacheError> {
        let client = match &config.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = certificates("CACHE_CLIENT_CERT_BASE64", &identity.certificate_pem)?;
                let key = PrivateKeyDer::from_pem_slice(identity.key_pem.expose()).map_err(|_| {
                    wrong(
                        "CACHE_CLIENT_KEY_BASE64",
                        "not a private key; expected PEM of a private key, or base64 of it",
                    )
                })?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    let why = match error {
                        rustls::Error::InconsistentKeys(_) => {
                            "the key belongs to another certificate".to_owned()
                        }
                        error => error.to_string(),
                    };
                    wrong(
                        "CACHE_CLIENT_CERT_BASE64",
                        &format!("does not match CACHE_CLIENT_KEY_BASE64: {why}"),
                    )
                })?
            }
        };
        Ok(Self {
            connector: TlsConnector::from(Arc::new(client)),
            config,
        })
    }
}

/// `config` with the current contents of its files, or the previous contents if reading fails.
pub(crate) fn with_files(config: &TlsConfig) -> Result<TlsConfig, CacheError> {
    let files = &config.files;
    if files.is_empty() {
        return Ok(config.clone());
    }
    let needs_identity = files.certificate.is_some() || files.key.is_some();
    let is_read =
        (files.ca.is_none() || config.ca_pem.is_some()) && (!needs_identity || config.identity.is_some());
    match config.read_again() {
        Ok(read) => Ok(read),
        Err(error) if is_read => {
            tracing::warn!("{error}; what was read before stays in use");
            Ok(config.clone())
        }
        Err(error) => Err(error.into()),
    }
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, CacheError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("CACHE_TLS_ENABLED", &error.to_string()))
}

/// The verifier that [`Tls::new`] uses: chain, dates and host name, by the authorities of `config`.
pub(crate) fn verifier(config: &TlsConfig) -> Result<Arc<WebPkiServerVerifier>, CacheError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots(config)?), provider)
        .build()
        .map_err(|error| wrong("CACHE_CA_CERT_BASE64", &error.to_string()))
}

/// Finds the TLS error among an error and its causes.
fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        // Two wrappers whose `source` skips the wrapped error itself.
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

/// The error of a connection that failed in TLS.
pub(crate) fn insecure(detail: String, source: Option<ErrorSource>) -> CacheError {
    CacheError::Unavailable {
        reason: Unavailability::Tls,
        detail: detail.into(),
        outcome: Outcome::NotApplied,
        source,
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
                "the system has no trusted authorities; set it to the PEM certificate of the authority of the servers",
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
                "not readable as certificates; expected PEM certificates, or base64 of them",
            )
        })?;
    if chain.is_empty() {
        return Err(wrong(
            variable,
            "holds no certificate; expected PEM certificates, or base64 of them",
        ));
    }
    Ok(chain)
}

fn wrong(variable: &'static str, message: &str) -> CacheError {
    CacheError::Config(ConfigError::one(variable, message))
}
