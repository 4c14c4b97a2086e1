//! What a listener is told.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::ListenerError;

/// What a listener is told.
#[derive(Clone, Debug)]
pub struct ListenerOptions {
    pub(super) address: SocketAddr,
    pub(super) tls: Option<TlsFiles>,
    pub(super) behind_proxy: bool,
    pub(super) max_connections: usize,
    pub(super) max_connections_of_each: usize,
    pub(super) write_timeout: Duration,
    pub(super) handshake_timeout: Duration,
    pub(super) header_timeout: Duration,
    pub(super) shutdown_timeout: Duration,
    pub(super) reload_every: Duration,
}

/// The PEM files of TLS. They are looked into again every few seconds.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of client certificates. Where it is set, clients may show one, and it has to be good.
    pub client_authorities: Option<PathBuf>,
}

impl ListenerOptions {
    /// At 127.0.0.1, port 8040, without TLS.
    #[must_use]
    pub fn new() -> Self {
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8_040),
            tls: None,
            behind_proxy: false,
            max_connections: 512,
            max_connections_of_each: 256,
            write_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            shutdown_timeout: Duration::from_secs(10),
            reload_every: Duration::from_secs(10),
        }
    }

    /// The address; port 0 is any that is free. Default: `127.0.0.1:8040`.
    #[must_use]
    pub fn with_address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// TLS by these files. Default: none.
    #[must_use]
    pub fn with_tls(mut self, files: TlsFiles) -> Self {
        self.tls = Some(files);
        self
    }

    /// Whether a proxy stands in front that ends TLS and is the only one who reaches the address. It then may be
    /// beyond loopback without TLS, and the last address in `X-Forwarded-For` is that of the client. Default: no.
    #[must_use]
    pub fn behind_proxy(mut self, behind: bool) -> Self {
        self.behind_proxy = behind;
        self
    }

    /// How many connections there may be at once. A further one takes the place of the oldest on which no request was
    /// authenticated; if there is none, it waits. Default: 512.
    #[must_use]
    pub fn with_max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// How many of these one address may have; further ones take the places of its own. Without effect behind a proxy, whose
    /// address is everybody's. Default: 256.
    #[must_use]
    pub fn with_max_connections_of_each(mut self, connections: usize) -> Self {
        self.max_connections_of_each = connections.max(1);
        self
    }

    /// How long a client may take nothing of its answer before its connection is cut. Default: 10 s.
    #[must_use]
    pub fn with_write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// How long a TLS handshake may take. Default: 10 s.
    #[must_use]
    pub fn with_handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// How long the head of a request may take, from the end of the one before. Default: 10 s.
    #[must_use]
    pub fn with_header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout;
        self
    }

    /// How often the files of TLS and of the actors are looked into. Default: 10 s.
    #[must_use]
    pub fn with_reload_every(mut self, time: Duration) -> Self {
        self.reload_every = time.max(Duration::from_millis(1));
        self
    }

    /// How long requests that are under way may take to end once the listener is to stop. Default: 10 s.
    #[must_use]
    pub fn with_shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// Whether a listener may be where it is told to be.
    pub(super) fn check(&self, is_open: bool) -> Result<(), ListenerError> {
        let address = self.address;
        let refuse = |reason: &str| Err(ListenerError::new(format!("address {address}: {reason}")));
        if self.behind_proxy && is_open {
            return refuse(
                "behind a proxy the service needs authentication, as the proxy's clients reach it",
            );
        }
        if address.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        if is_open {
            return refuse("without authentication the service listens on a loopback address only");
        }
        if self.tls.is_none() && !self.behind_proxy {
            return refuse("beyond loopback the service needs TLS, or a proxy in front that ends it");
        }
        Ok(())
    }
}

impl TlsFiles {
    /// Whether clients are asked for a certificate.
    pub(super) const fn asks_clients(&self) -> bool {
        self.client_authorities.is_some()
    }
}

impl Default for ListenerOptions {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_beyond_loopback_needs_authentication_and_tls_or_a_proxy() {
        let tls = || TlsFiles {
            certificate: "certificate.pem".into(),
            key: "key.pem".into(),
            client_authorities: None,
        };
        let check = |address: &str, is_open, with_tls: bool, behind| {
            let options = ListenerOptions::new()
                .with_address(address.parse().unwrap())
                .behind_proxy(behind);
            let options = if with_tls {
                options.with_tls(tls())
            } else {
                options
            };
            options.check(is_open).map_err(|error| error.to_string())
        };
        for loopback in ["127.0.0.1:1", "[::1]:1", "127.1.2.3:1", "[::ffff:127.0.0.1]:1"] {
            for with_tls in [false, true] {
                assert_eq!(check(loopback, true, with_tls, false), Ok(()));
                assert_eq!(check(loopback, false, with_tls, false), Ok(()));
                assert_eq!(check(loopback, false, with_tls, true), Ok(()));
                assert!(
                    check(loopback, true, with_tls, true)
                        .unwrap_err()
                        .contains("behind a proxy")
                );
            }
        }
        for public in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[2001:db8::1]:1"] {
            assert!(
                check(public, true, true, false)
                    .unwrap_err()
                    .contains("without authentication")
            );
            assert!(
                check(public, true, false, true)
                    .unwrap_err()
                    .contains("authentication")
            );
            assert!(
                check(public, false, false, false)
                    .unwrap_err()
                    .contains("needs TLS")
            );
            assert_eq!(check(public, false, true, false), Ok(()));
            assert_eq!(check(public, false, false, true), Ok(()));
        }
    }
}
