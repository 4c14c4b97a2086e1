//! TLS settings: authorities, the client's certificate, the server's name, and the files that they come from.
//!
//! Not in here: connecting.

use std::path::{Path, PathBuf};

use super::reference::{self as var, Variable};
use super::{ConfigError, Problem, file, pem};
use crate::Secret;

/// TLS 1.2 or newer, with the host name always verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsConfig {
    /// The authorities to trust, as PEM. Default: the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// The client's certificate. Default: none.
    pub identity: Option<ClientIdentity>,
    /// The name that every server's certificate must have. Default: the host of each address.
    pub server_name: Option<String>,
    /// The files of these settings, to be read again for each connection. Default: none.
    pub files: TlsFiles,
}

/// Files of TLS material, each PEM or base64 of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities to trust.
    pub ca: Option<PathBuf>,
    /// The client's certificate chain.
    pub certificate: Option<PathBuf>,
    /// The client's private key.
    pub key: Option<PathBuf>,
}

impl TlsFiles {
    /// Whether no file is named.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ca.is_none() && self.certificate.is_none() && self.key.is_none()
    }
}

impl TlsConfig {
    /// TLS with the system's authorities and no client certificate.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ca_pem: None,
            identity: None,
            server_name: None,
            files: TlsFiles {
                ca: None,
                certificate: None,
                key: None,
            },
        }
    }

    /// The name that every server's certificate must have, and that is sent to the server (SNI). For servers
    /// that announce addresses which their certificates do not contain. Default: the host of each address.
    #[must_use]
    pub fn with_server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// The files of authorities, certificate and key. They are read when the client is built, and again for
    /// each connection. If a file is unreadable or the files do not match, that is logged and the previous
    /// content stays in use. Default: none.
    #[must_use]
    pub fn with_files(mut self, files: TlsFiles) -> Self {
        self.files = files;
        self
    }

    /// The same with the current content of its files. It reads files, so do not call it on a task that
    /// others wait for.
    ///
    /// # Errors
    ///
    /// The problem of a file, with the name of its variable, but without its content.
    pub fn read_again(&self) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let mut read = |path: &Option<PathBuf>, variable: &Variable, kind| {
            let path = path.as_deref()?;
            read_pem(path, kind)
                .map_err(|message| {
                    let variable = format!("{}_FILE", variable.name);
                    problems.push(Problem { variable, message });
                })
                .ok()
        };
        let ca = read(&self.files.ca, &var::CA_CERT_BASE64, pem::Kind::Certificates);
        let certificate = read(
            &self.files.certificate,
            &var::CLIENT_CERT_BASE64,
            pem::Kind::Certificates,
        );
        let key = read(&self.files.key, &var::CLIENT_KEY_BASE64, pem::Kind::PrivateKey).map(Secret::new);
        ConfigError::unless_empty(problems)?;
        let mut new = self.clone();
        if ca.is_some() {
            new.ca_pem = ca;
        }
        let known = new.identity.take();
        let (old_certificate, old_key) = known.map(|known| (known.certificate_pem, known.key_pem)).unzip();
        new.identity =
            certificate
                .or(old_certificate)
                .zip(key.or(old_key))
                .map(|(certificate_pem, key_pem)| ClientIdentity {
                    certificate_pem,
                    key_pem,
                });
        Ok(new)
    }

    /// The only authorities to trust, as PEM. Default: the system's.
    #[must_use]
    pub fn with_ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// The client's certificate. Default: none.
    #[must_use]
    pub fn with_identity(mut self, identity: ClientIdentity) -> Self {
        self.identity = Some(identity);
        self
    }
}

/// A client certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate chain, as PEM.
    pub certificate_pem: Vec<u8>,
    /// The private key, as PEM.
    pub key_pem: Secret<Vec<u8>>,
}

fn read_pem(path: &Path, kind: pem::Kind) -> Result<Vec<u8>, String> {
    let text = Secret::new(file::read_value(path)?);
    let pem = pem::decode(text.expose())?;
    pem::check(&pem, kind)?;
    Ok(pem)
}
