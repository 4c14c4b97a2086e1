//! The HTTP service of `cache-admin` on a real cluster, asked through a real socket.

mod attacks;
mod client;
mod listing;
mod looking;
mod outage;
mod refused;
mod removing;
mod roles;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_admin::access::{Access, Token};
use cache_admin::http::{AdminService, Limits, ListenerOptions};
use cache_admin::jobs::{Jobs, JobsConfig};
use cache_admin::{Engine, ValkeyKeys};
use cache_core::config::{Backend, Topology, ValkeyConfig};
use cache_core::{CacheClient as _, CacheConfig, Ttl};
use cache_layers::Quota;
use cache_stack::{Foundation, Stack};
use tests::Cluster;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::client::Client;

/// How long a test waits for something that must happen.
const LIMIT: Duration = Duration::from_secs(30);

/// A service on a socket; [`stop`](Served::stop) ends it in order.
struct Served {
    client: Client,
    stack: Stack,
    service: AdminService,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Served {
    /// The service of the cluster, with jobs as told.
    async fn start(cluster: &Cluster, jobs: JobsConfig) -> Result<Self> {
        let seeds = cluster.addresses();
        let seeds = seeds
            .iter()
            .map(|seed| seed.parse())
            .collect::<Result<Vec<_>, _>>()?;
        Self::of(ValkeyConfig::new(Topology::cluster(seeds)), jobs).await
    }

    /// The service of these servers, with jobs as told.
    async fn of(valkey: ValkeyConfig, jobs: JobsConfig) -> Result<Self> {
        let config = CacheConfig::builder().backend(Backend::Valkey(valkey)).build()?;
        Self::with(&config, jobs).await
    }

    /// The service of the cache that is configured so.
    async fn with(config: &CacheConfig, jobs: JobsConfig) -> Result<Self> {
        let stack = Box::pin(cache_stack::assemble(config)).await?;
        let Foundation::Valkey(client) = &stack.foundation else {
            anyhow::bail!("no servers");
        };
        let jobs = Jobs::open(Engine::new(ValkeyKeys::new(client)), jobs).await?;
        let token = Token::generate()?;
        let text = format!(
            "[actors.root]\ntokens = [{{ hash = \"{}\" }}]\n[actors.root.grants]\n\
             list = [\"\"]\nvalue = [\"\"]\ninvalidate = [\"\"]\npurge = [\"\"]\nacl = [\"\"]\n",
            token.hash()
        );
        let access = Arc::new(Access::from_toml(&text)?);
        let options = ListenerOptions::new().with_address(([127, 0, 0, 1], 0).into());
        let limits = Limits::default().with_requests(Quota::fixed(100_000, Duration::from_secs(60)));
        let service = AdminService::builder(&stack)
            .access(access)
            .jobs(jobs)
            .limits(limits)
            .build()
            .await?;
        let listener = service.listen(&options).await?;
        let client = Client::new(listener.address(), token.expose());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = service.clone();
        let task = tokio::spawn(async move {
            let shutdown = async {
                // That the other half is gone is a word, too.
                let _ = stopped.await;
            };
            serving.serve(listener, shutdown).await;
        });
        Ok(Self {
            client,
            stack,
            service,
            stop,
            task,
        })
    }

    /// Stores keys with small values.
    async fn fill(&self, keys: impl Iterator<Item = String>) -> Result<()> {
        let keys: Vec<String> = keys.collect();
        for batch in keys.chunks(1_000) {
            let entries: Vec<_> = batch.iter().map(|key| (key.as_str(), "x".into())).collect();
            self.stack.client.set_many(&entries, Ttl::Forever).await?;
        }
        Ok(())
    }

    /// Ends the service as a process would that is told to stop.
    async fn stop(self) -> Result<()> {
        let _ = self.stop.send(());
        tokio::time::timeout(LIMIT, self.task)
            .await
            .context("the listener does not end")??;
        self.stack.client.close().await?;
        Ok(())
    }
}
