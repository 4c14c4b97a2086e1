//! Scenario 101: one at a time, with a number that grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use cache_core::{CacheClientExt, TrackingStatus, clock};
use cache_layers::lock::Loss;
use cache_layers::{Fence, Lock, LockConfig, LockError};
use futures::future::try_join_all;
use tests::Kind;

use crate::{TASKS, clients, unique};

const WAIT: Duration = Duration::from_secs(60);

/// What must be changed by one at a time, and by numbers that grow.
#[derive(Debug, Default)]
struct Resource {
    busy: AtomicBool,
    highest: AtomicU64,
    changes: AtomicU64,
}

impl Resource {
    async fn change(&self, fence: Fence) -> Result<()> {
        ensure!(!self.busy.swap(true, Ordering::SeqCst), "two at once");
        let before = self.highest.swap(fence.get(), Ordering::SeqCst);
        ensure!(before < fence.get(), "{before} then {fence}");
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.busy.store(false, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_tasks_of_four_clients_are_alone_one_after_the_other() -> Result<()> {
    for kind in [Kind::Single, Kind::Cluster, Kind::Valkey9, Kind::Redis7] {
        let clients = clients(kind).await;
        let locks: Vec<_> = clients
            .iter()
            .map(|client| Lock::new(Arc::clone(client), LockConfig::default()))
            .collect();
        let (key, resource) = (unique("{lock}"), Arc::<Resource>::default());
        let begun = clock::now();
        let tasks = (0..TASKS).map(|number| {
            let (lock, key, resource) = (locks[number % 4].clone(), key.clone(), resource.clone());
            tokio::spawn(async move {
                let change = |fence| async move { resource.change(fence).await };
                lock.run(&key, WAIT, change).await?
            })
        });
        for task in try_join_all(tasks).await? {
            task?;
        }
        println!("{kind:?}: {TASKS} holders in {:?}", clock::now() - begun);
        assert_eq!(resource.changes.load(Ordering::SeqCst), TASKS as u64);
        // Given back, each time.
        assert_eq!(clients[0].find(&format!("{key}:#lock")).await?, None);
        clients[0].del(&[&format!("{key}:#fence")]).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_lock_cancels_the_work_within_a_third_of_the_lease() -> Result<()> {
    const LEASE: Duration = Duration::from_secs(3);
    for kind in [Kind::Single, Kind::Cluster] {
        let clients = clients(kind).await;
        let lock = Lock::new(
            Arc::clone(&clients[0]),
            LockConfig::builder().lease(LEASE).build()?,
        );
        let key = unique("{deleted}");
        let (lost, deleted) = tokio::join!(
            async {
                let lost = lock.run(&key, WAIT, |_| std::future::pending::<()>()).await;
                (lost, clock::now())
            },
            async {
                let lock_key = format!("{key}:#lock");
                tests::until(WAIT, "the lock to be taken", || async {
                    let value = clients[1].find_string(&lock_key).await?;
                    Ok(value.filter(|value| value.split(' ').count() == 3))
                })
                .await?;
                // Until then the holder has had time to listen.
                tokio::time::sleep(Duration::from_millis(100)).await;
                clients[1].del(&[&lock_key]).await?;
                anyhow::Ok(clock::now())
            }
        );
        let (lost, at) = lost;
        assert!(matches!(lost, Err(LockError::Lost(Loss::Gone))), "{lost:?}");
        let took = at.saturating_duration_since(deleted?);
        let reported = clients[0]
            .invalidations()
            .is_some_and(|source| source.status() == TrackingStatus::On);
        println!("{kind:?}: cancelled after {took:?}, changes are reported: {reported}");
        let most = if reported { LEASE / 6 } else { LEASE / 2 };
        assert!(took < most, "{took:?}");
    }
    Ok(())
}
