//! Turns host names into addresses. Asked for every connection, so that a changed name is noticed.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;

/// Turns a host name into its addresses, in the order in which they are tried.
///
/// The system's resolver is the default; another one is for tests and for service registries.
#[async_trait]
pub trait Resolve: Debug + Send + Sync + 'static {
    /// The addresses of `host`, each with `port`. `host` may be an address itself.
    ///
    /// # Errors
    ///
    /// Whatever the lookup failed with.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        // An address needs no lookup, and the lookup would cost a thread.
        if let Ok(ip) = host.parse() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}
