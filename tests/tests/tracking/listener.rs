//! A listener that notes what it hears, and clients for it to listen to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_core::config::{Address, Topology, ValkeyConfig};
use cache_core::{CacheClient, CacheError, Entry, Invalidation, Subscription, TrackingStatus};
use cache_valkey::ValkeyClient;
use tests::{Server, until};

/// How long a test waits for what must come.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// `host:port` as an address.
pub(crate) fn address(text: &str) -> Result<Address> {
    let (host, port) = text.rsplit_once(':').context("no port")?;
    Ok(Address::new(host, port.parse()?))
}

/// A single server.
pub(crate) fn single(server: &str) -> Result<ValkeyConfig> {
    Ok(ValkeyConfig::new(Topology::Single {
        addresses: vec![address(server)?],
        db: 0,
    }))
}

/// A client of `server`, and what it reports.
pub(crate) async fn listening(server: &Server) -> Result<(ValkeyClient, Heard)> {
    let client = ValkeyClient::connect(&single(&server.address())?).await?;
    let heard = Heard::of(&client)?;
    Ok((client, heard))
}

/// Reads `key`, which must be there, so that its changes are reported.
pub(crate) async fn read(client: &dyn CacheClient, key: &str) -> Result<()> {
    let entry = client.get_entry(key).await?;
    anyhow::ensure!(entry.tracked, "{key} is not tracked");
    Ok(())
}

/// Reads `key` until that succeeds and is tracked.
pub(crate) async fn tracked_again(client: &dyn CacheClient, key: &str) -> Result<Entry> {
    until(LIMIT, "a read that is tracked", || async {
        let entry = client.get_entry(key).await?;
        Ok(entry.tracked.then_some(entry))
    })
    .await
}

/// Waits until `client` says so of its tracking.
pub(crate) async fn status_is(client: &dyn CacheClient, wanted: &TrackingStatus) -> Result<()> {
    let source = client.invalidations().context("no invalidations")?;
    until(LIMIT, &format!("the status {wanted:?}"), || async {
        let status = source.status();
        anyhow::ensure!(status == *wanted, "{status:?}");
        Ok(Some(()))
    })
    .await
}

/// The first answer, of a value or a miss, to a read of `key`.
pub(crate) async fn first_answer(client: &dyn CacheClient, key: &str) -> Result<()> {
    until(LIMIT, "an answer", || async {
        match client.get_entry(key).await {
            Ok(_) | Err(CacheError::Miss) => Ok(Some(())),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

/// What a listener heard, in order.
pub(crate) struct Heard {
    events: Arc<Mutex<Vec<Invalidation>>>,
    _subscription: Subscription,
}

impl Heard {
    pub(crate) fn of(client: &dyn CacheClient) -> Result<Self> {
        let events: Arc<Mutex<Vec<_>>> = Arc::default();
        let listener = {
            let events = Arc::clone(&events);
            move |event: &Invalidation| lock(&events).push(event.clone())
        };
        let source = client.invalidations().context("no invalidations")?;
        Ok(Self {
            events,
            _subscription: source.subscribe(Arc::new(listener)),
        })
    }

    /// All of it so far.
    pub(crate) fn events(&self) -> Vec<Invalidation> {
        lock(&self.events).clone()
    }

    /// The keys so far, in order.
    pub(crate) fn keys(&self) -> Vec<String> {
        let keys = |event| match event {
            Invalidation::Keys(keys) => keys,
            _ => Vec::new(),
        };
        self.events().into_iter().flat_map(keys).collect()
    }

    pub(crate) fn has(&self, event: &Invalidation) -> bool {
        lock(&self.events).contains(event)
    }

    /// Forgets what was heard so far.
    pub(crate) fn clear(&self) {
        lock(&self.events).clear();
    }

    /// Waits for `event`.
    pub(crate) async fn wait_for(&self, event: &Invalidation) -> Result<()> {
        until(LIMIT, &format!("{event:?}"), || async {
            anyhow::ensure!(self.has(event), "heard {:?}", self.events());
            Ok(Some(()))
        })
        .await
    }

    /// Waits for the change of `key`.
    pub(crate) async fn wait_for_key(&self, key: &str) -> Result<()> {
        until(LIMIT, &format!("the change of {key}"), || async {
            let events = self.events();
            anyhow::ensure!(self.keys().iter().any(|heard| heard == key), "heard {events:?}");
            Ok(Some(()))
        })
        .await
    }
}

fn lock(events: &Mutex<Vec<Invalidation>>) -> MutexGuard<'_, Vec<Invalidation>> {
    events.lock().unwrap_or_else(PoisonError::into_inner)
}
