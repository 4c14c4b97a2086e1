//! Why a listener cannot start.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

/// Why a listener cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ListenerError(String);

impl ListenerError {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    pub(super) fn address(address: SocketAddr, error: &io::Error) -> Self {
        Self(format!("address {address}: {error}"))
    }

    pub(super) fn file(path: &Path, reason: &str) -> Self {
        Self(format!("{}: {reason}", path.display()))
    }
}
