//! Locks on servers that stall or hand over.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_core::clock::{self, Instant};
use cache_core::config::{Address, Topology, ValkeyConfig};
use cache_core::slot::slot_of;
use cache_layers::lock::Loss;
use cache_layers::{Lock, LockConfig, LockError};
use cache_valkey::ValkeyClient;
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version};
use tokio::sync::oneshot;

const WAIT: Duration = Duration::from_secs(60);

async fn lock(topology: Topology, lease: Duration) -> Result<Lock> {
    let client = ValkeyClient::connect(&ValkeyConfig::new(topology)).await?;
    Ok(Lock::new(
        Arc::new(client),
        LockConfig::builder().lease(lease).build()?,
    ))
}

fn address(text: &str) -> Result<Address> {
    let (host, port) = text.rsplit_once(':').context("no port")?;
    Ok(Address::new(host, port.parse()?))
}

/// Tells when it is dropped.
struct OnDrop(Option<oneshot::Sender<Instant>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            let _nobody_listens = tell.send(clock::now());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stalls_cancels_the_work_before_its_lease_can_have_run_out() -> Result<()> {
    const LEASE: Duration = Duration::from_secs(2);
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let single = Topology::Single {
        addresses: vec![address(&server.address())?],
        db: 0,
    };
    let (lock, other) = (lock(single.clone(), LEASE).await?, lock(single, LEASE).await?);
    let (tell, dropped) = oneshot::channel();
    let (began, begun) = oneshot::channel();
    let work = move |_| async move {
        let _on_drop = OnDrop(Some(tell));
        let _ = began.send(clock::now());
        std::future::pending::<()>().await;
    };
    let holder = tokio::spawn(async move { lock.run("stalled", WAIT, work).await });
    // Longer than a lease: it is extended.
    let begun = begun.await?;
    tokio::time::sleep_until(begun + LEASE * 3 / 2).await;
    let paused = clock::now();
    server.pause()?;
    let dropped = dropped.await?;
    server.resume()?;
    let held = other.acquire("stalled", WAIT).await?;
    let acquired = clock::now();
    println!(
        "the work was dropped {:?} after the stall, the next holder came {:?} after that",
        dropped - paused,
        acquired.saturating_duration_since(dropped)
    );
    assert!(dropped - paused <= LEASE - LEASE / 10 + Duration::from_millis(100));
    assert!(dropped < acquired);
    let lost = holder.await?;
    assert!(matches!(lost, Err(LockError::Lost(Loss::Expired))), "{lost:?}");
    held.release().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_outlives_an_orderly_change_of_its_primary_and_its_numbers_grow_on() -> Result<()> {
    const KEY: &str = "handed:{over}";
    let cluster = Cluster::start(ClusterOptions::new(3, 1)).await?;
    let topology = Topology::cluster([address(&cluster.addresses()[0])?]);
    let lock = lock(topology, Duration::from_secs(5)).await?;
    let held = lock.acquire(KEY, WAIT).await?;
    let old = cluster.primary_of(slot_of(b"over")).await?;
    let replica = *cluster.replicas_of(old).await?.first().context("no replica")?;
    cluster.failover(replica).await?;
    let new = cluster.wait_for_new_primary(slot_of(b"over"), old).await?;
    assert_eq!(new, replica);
    held.extend().await?;
    assert!(lock.try_acquire(KEY).await?.is_none());
    let fence = held.fence();
    assert!(held.release().await?);
    assert!(lock.acquire(KEY, WAIT).await?.fence() > fence);
    Ok(())
}
