//! Which service: its address, the token for it, and whose certificate it has to show.

use std::path::Path;
use std::sync::Arc;

use http::{HeaderValue, Uri};
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use super::Server;
use crate::failure::Failure;

/// Which service.
pub(super) struct Target {
    /// Without the slash at its end.
    pub(super) base: String,
    pub(super) token: Option<HeaderValue>,
    pub(super) tls: ClientConfig,
}

impl Target {
    pub(super) fn read(server: &Server, url: &str) -> Result<Self, Failure> {
        let base = base(url, server.plain_http)?;
        let token = server.token_file.as_deref().map(token).transpose()?;
        Ok(Self {
            base,
            token,
            tls: tls(server)?,
        })
    }
}

/// The address, checked: nothing that is secret goes over a line that others read.
fn base(url: &str, plain: bool) -> Result<String, Failure> {
    let wrong = |reason: &str| Failure::Usage(format!("--server: {reason}"));
    let uri: Uri = url
        .parse()
        .map_err(|_| wrong("has to be a URL, such as https://cache-admin.internal:8377"))?;
    let host = uri
        .host()
        .ok_or_else(|| wrong("has to begin with https:// or http://"))?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err(wrong(
            "takes no user and no password; the token is in --token-file",
        ));
    }
    if uri.query().is_some() {
        return Err(wrong("takes no query"));
    }
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if plain || is_loopback(host) => {}
        Some("http") => {
            return Err(wrong(
                "speaks plain http to this machine only: use https, or --plain-http where nobody listens in between",
            ));
        }
        _ => return Err(wrong("has to begin with https:// or http://")),
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

fn token(path: &Path) -> Result<HeaderValue, Failure> {
    let wrong = |reason: &str| Failure::Usage(format!("--token-file {}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error.to_string()))?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.is_empty() {
        return Err(wrong("its first line is empty"));
    }
    let mut value =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| wrong("its first line is no token"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn tls(server: &Server) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    match server.server_ca.as_deref() {
        Some(path) => {
            let wrong = |reason: String| Failure::Usage(format!("--server-ca {}: {reason}", path.display()));
            let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&text) {
                let certificate = certificate.map_err(|_| wrong("is no certificate in PEM".to_owned()))?;
                roots
                    .add(certificate)
                    .map_err(|error| wrong(format!("holds a certificate that is none: {error}")))?;
            }
            if roots.is_empty() {
                return Err(wrong("holds no certificate in PEM".to_owned()));
            }
        }
        // What cannot be read of the system's is missing; who needs it is told then.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Usage(format!("TLS: {error}")))?;
    let config = config.with_root_certificates(roots);
    match (&server.client_cert, &server.client_key) {
        (None, None) => Ok(config.with_no_client_auth()),
        (Some(certificate), Some(key)) => shown(config, certificate, key),
        (Some(_), None) => Err(Failure::Usage(
            "--client-cert needs --client-key, the file of its private key".to_owned(),
        )),
        (None, Some(_)) => Err(Failure::Usage(
            "--client-key needs --client-cert, the file of its certificate".to_owned(),
        )),
    }
}

/// With a certificate for the service to know this client by.
fn shown(
    config: ConfigBuilder<ClientConfig, WantsClientCert>,
    certificate: &Path,
    key: &Path,
) -> Result<ClientConfig, Failure> {
    let wrong = |option: &str, path: &Path, reason: String| {
        Failure::Usage(format!("{option} {}: {reason}", path.display()))
    };
    let text =
        std::fs::read(certificate).map_err(|error| wrong("--client-cert", certificate, error.to_string()))?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|_| {
            wrong(
                "--client-cert",
                certificate,
                "must be certificates in PEM".to_owned(),
            )
        })?;
    if chain.is_empty() {
        return Err(wrong(
            "--client-cert",
            certificate,
            "holds no certificate in PEM".to_owned(),
        ));
    }
    let text = std::fs::read(key).map_err(|error| wrong("--client-key", key, error.to_string()))?;
    let private = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| wrong("--client-key", key, "holds no private key in PEM".to_owned()))?;
    config.with_client_auth_cert(chain, private).map_err(|error| {
        wrong(
            "--client-cert",
            certificate,
            format!("does not fit --client-key: {error}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_this_machine_unless_told_otherwise() {
        for url in [
            "http://127.0.0.1:8377/",
            "http://localhost",
            "http://[::1]:1",
            "https://admin.internal/base/",
        ] {
            assert_eq!(base(url, false).unwrap(), url.trim_end_matches('/'));
        }
        assert!(base("http://admin.internal", true).is_ok());
        for url in [
            "http://admin.internal",
            "http://localhost.example.org",
            "http://10.0.0.1:8377",
            "https://jo:secret@admin.internal",
            "https://admin.internal/?a=b",
            "ftp://admin.internal",
            "admin.internal",
            "",
        ] {
            let error = base(url, false).unwrap_err();
            let text = error.lines().join(" ");
            assert!(!text.contains("secret"), "{url}: {text}");
        }
    }
}
