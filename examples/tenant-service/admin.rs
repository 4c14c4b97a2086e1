//! The administration of the service's cache: at an address of its own, where a file says who may do what.
//!
//! It works on the cache of this process, so that an embedded one can be administered at all. Its callers are not the
//! service's: none of the routes that tenants reach is in here.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use cache_admin::access::Access;
use cache_admin::http::{AdminService, Listener, ListenerOptions};
use cache_stack::Stack;

/// How long its requests may take to end, so that the rest of the shutdown has its time, too.
const DRAIN: Duration = Duration::from_secs(5);

/// The administration, with an address.
#[derive(Debug)]
pub(crate) struct Admin {
    service: AdminService,
    listener: Listener,
}

impl Admin {
    /// Takes the address for the actors of `file`. Without TLS, which this service has no settings for, that has to be
    /// a loopback address: the listener sees to it.
    pub(crate) async fn listen(stack: &Stack, file: &Path, address: SocketAddr) -> anyhow::Result<Self> {
        let access = Access::from_file(file).context("read the file of ADMIN_TOKENS")?;
        for warning in access.warnings() {
            tracing::warn!("{warning}");
        }
        let service = AdminService::builder(stack)
            .access(Arc::new(access))
            .build()
            .await?;
        let options = ListenerOptions::new()
            .with_address(address)
            .with_shutdown_timeout(DRAIN);
        let listener = service.listen(&options).await;
        let listener = listener.context("listen for the administration; ADMIN_LISTEN sets where")?;
        Ok(Self { service, listener })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Serves until `shutdown` ends; afterwards nothing of it is at work in the cache.
    pub(crate) async fn serve(self, shutdown: impl Future<Output = ()> + Send) {
        self.service.serve(self.listener, shutdown).await;
    }
}
