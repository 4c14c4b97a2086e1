//! A broker that listens: cache, upstream and routes put together, until it is stopped.

use std::future::IntoFuture as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use cache_core::{CacheClient, CacheConfig};
use cache_layers::SystemClock;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::broker::{Broker, Parts};
use crate::http_client::Http;
use crate::options::Serving;
use crate::profiles::Profiles;
use crate::routes::{self, App};
use crate::times::Times;
use crate::upstream::remote::RemoteUpstream;
use crate::upstream::stand_in::{self, Switches};

/// How long requests and mints that are under way may take once the broker is asked to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// A broker at work.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    /// Where it mints.
    pub(crate) upstream: String,
    pub(crate) broker: Arc<Broker>,
    /// What its cache is, in words.
    pub(crate) cache: Arc<str>,
    client: Arc<dyn CacheClient>,
    stop: watch::Sender<bool>,
    server: JoinHandle<std::io::Result<()>>,
    stand_in: Option<JoinHandle<std::io::Result<()>>>,
}

impl Running {
    /// Starts it, with a stand-in for the upstream in this process where the options name none.
    pub(crate) async fn start(serving: &Serving, profiles: Profiles, times: Times) -> anyhow::Result<Self> {
        let config = CacheConfig::from_env()?;
        let stack = cache_stack::assemble(&config).await.context("set up the cache")?;
        let (upstream, stand_in) = match &serving.upstream {
            Some(url) => (url.clone(), None),
            None => {
                let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
                let (address, serve) = stand_in::listen(anywhere, times, Switches::default()).await?;
                (format!("http://{address}"), Some(tokio::spawn(serve)))
            }
        };
        let broker = Broker::new(Parts {
            profiles,
            cache: Arc::clone(&stack.client),
            near: stack.near.clone(),
            upstream: Box::new(RemoteUpstream::new(Http::new(&upstream))),
            most_mints: serving.max_mints,
            times,
            clock: Arc::new(SystemClock),
        })?;
        let broker = Arc::new(broker);
        let cache: Arc<str> = stack.describe().into();
        let address = serving.address();
        let listener = TcpListener::bind(address).await;
        let listener = listener
            .with_context(|| format!("listen on {address}; set PORT to another port, 0 picks a free one"))?;
        let address = listener.local_addr()?;
        let (stop, mut stopped) = watch::channel(false);
        let router = routes::router(App {
            broker: Arc::clone(&broker),
            cache: Arc::clone(&cache),
        });
        let server = axum::serve(listener, router).with_graceful_shutdown(async move {
            // Ends also when the other half is dropped.
            let _ended = stopped.wait_for(|stop| *stop).await;
        });
        Ok(Self {
            address,
            upstream,
            broker,
            cache,
            client: stack.client,
            stop,
            server: tokio::spawn(server.into_future()),
            stand_in,
        })
    }

    /// Lets requests and mints end that are under way, and closes the cache.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        tracing::info!("stopping");
        self.stop.send_replace(true);
        let ended = async {
            self.server.await.context("serve")?.context("serve")?;
            self.broker.settled().await;
            anyhow::Ok(())
        };
        match tokio::time::timeout(DRAIN, ended).await {
            Ok(ended) => ended?,
            Err(_) => tracing::warn!("requests were cut off after {DRAIN:?}"),
        }
        if let Some(stand_in) = self.stand_in {
            stand_in.abort();
        }
        self.client.close().await?;
        tracing::info!("stopped");
        Ok(())
    }
}
