//! Resolves host names, for every connection, so that changes are noticed.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;

/// Resolves a host name into its addresses, in the order in which they are tried.
///
/// The system's resolver is the default. Implement this trait for tests or service registries.
#[async_trait]
pub trait Resolve: Debug + Send + Sync + 'static {
    /// Returns the addresses of `host`, each with `port`. `host` may be an IP address.
    ///
    /// # Errors
    ///
    /// The error of the lookup.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        // An IP address needs no lookup, which would cost a thread.
        if let Ok(ip) = host.parse() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}
