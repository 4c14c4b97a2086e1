//! The errors of a connection attempt, which name the server and say what to check.

use std::io;
use std::sync::Arc;

use cache_core::config::Address;
use cache_core::{CacheError, Outcome, Unavailability};

use super::Dialer;
use super::addresses::Endpoint;
use crate::error::from_login;
use crate::tls;
use crate::wire::HandshakeError;

impl Dialer {
    /// The hint for a server that ends the connection during the handshake.
    const fn hung_up(&self) -> &'static str {
        match &self.tls {
            Some(_) => "the server ended the connection during the handshake",
            None => {
                "the server ended the connection during the handshake; if this is a TLS port, set \
                 CACHE_TLS_ENABLED=true (rediss:// in a URL)"
            }
        }
    }

    pub(super) fn refused(&self, endpoint: Endpoint<'_>, error: HandshakeError) -> CacheError {
        let Endpoint { address, host } = endpoint;
        let parsed = !matches!(error, HandshakeError::NotTheProtocol(_));
        match error {
            HandshakeError::Refused(error) => match from_login(&error, "HELLO") {
                // Each node has its own users, so the error names the node.
                CacheError::Unauthorized { detail, source } => CacheError::Unauthorized {
                    detail: format!("{address}: {detail}").into(),
                    source,
                },
                other if other.is_transient() => reworded(other, |_, detail| format!("{address}: {detail}")),
                other if error.code == "ERR" || error.code == "NOPROTO" => {
                    too_old(address, &other.to_string())
                }
                other => other,
            },
            HandshakeError::TimedOut => unreachable(
                address,
                Unavailability::Connect,
                "which accepts connections but does not answer",
                None,
            ),
            HandshakeError::HungUp(source) => CacheError::Unavailable {
                reason: Unavailability::Connect,
                detail: format!("{address}: {}", self.hung_up()).into(),
                outcome: Outcome::NotApplied,
                source,
            },
            HandshakeError::Ended(source) | HandshakeError::NotTheProtocol(source) => {
                if let Some(tls) = &self.tls
                    && let Some(detail) = tls.explain(&*source, host)
                {
                    return tls::insecure(detail, Some(source));
                }
                let hint = if parsed {
                    self.hung_up()
                } else {
                    "what answers there does not speak the Redis protocol; check CACHE_ADDRS, and CACHE_TLS_ENABLED if \
                     this is a TLS port"
                };
                CacheError::Unavailable {
                    reason: Unavailability::Connect,
                    detail: format!("{address}: {hint}").into(),
                    outcome: Outcome::NotApplied,
                    source: Some(source),
                }
            }
        }
    }
}

/// Rewrites the detail of an error that says that a server is not available.
pub(super) fn reworded(
    mut error: CacheError,
    reword: impl FnOnce(Unavailability, &str) -> String,
) -> CacheError {
    if let CacheError::Unavailable { reason, detail, .. } = &mut error {
        *detail = reword(*reason, detail).into();
    }
    error
}

fn too_old(address: &Address, why: &str) -> CacheError {
    CacheError::Unsupported {
        detail: format!(
            "{address} refused the handshake ({why}); RESP3 is needed: Valkey, or Redis from 6.0 on"
        )
        .into(),
    }
}

pub(super) fn unreachable(
    address: &Address,
    reason: Unavailability,
    detail: &str,
    error: Option<io::Error>,
) -> CacheError {
    CacheError::Unavailable {
        reason,
        detail: format!("{address}, {detail}").into(),
        outcome: Outcome::NotApplied,
        source: error.map(|error| Arc::new(error) as cache_core::ErrorSource),
    }
}
