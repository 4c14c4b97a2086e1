//! Scenario 101: one at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use cache_core::CacheClient;
use cache_layers::{Lock, LockConfig, LockError};
use cache_mock::{Fault, Operation};
use futures::future::join_all;
use rand::{Rng as _, SeedableRng as _};

use crate::rig::{KEY, LOCK_KEY, Rig, ms, secs};
use crate::wire::Wire;

/// Work that finds out whether it is alone, and whether its number is the greatest so far.
#[derive(Debug, Default)]
struct Resource {
    inside: AtomicU32,
    highest: AtomicU64,
    times: AtomicU32,
}

impl Resource {
    async fn change(&self, fence: u64, takes: u64) {
        assert_eq!(self.inside.fetch_add(1, Ordering::SeqCst), 0, "not alone");
        let before = self.highest.swap(fence, Ordering::SeqCst);
        assert!(before < fence, "{before} then {fence}");
        tokio::time::sleep(ms(takes)).await;
        self.times.fetch_add(1, Ordering::SeqCst);
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn a_hundred_at_once(processes: Vec<Lock>) {
    let resource = Arc::<Resource>::default();
    let tasks = (0..100).map(|number: usize| {
        let (lock, resource) = (processes[number % processes.len()].clone(), resource.clone());
        tokio::spawn(async move {
            let mut random = rand::rngs::SmallRng::seed_from_u64(number as u64);
            tokio::time::sleep(ms(random.random_range(0..50))).await;
            let takes = random.random_range(0..20);
            let change =
                |fence: cache_layers::Fence| async move { resource.change(fence.get(), takes).await };
            lock.run(KEY, secs(1_000), change).await.unwrap();
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    assert_eq!(resource.times.load(Ordering::SeqCst), 100);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_tasks_of_four_processes_are_alone_one_after_the_other() {
    let rig = Rig::default();
    a_hundred_at_once((0..4).map(|_| rig.process()).collect()).await;
    assert_eq!(rig.stored().await, None);
}

#[tokio::test(start_paused = true)]
async fn they_are_where_nothing_is_reported_and_every_call_takes_its_time() {
    let rig = Rig::default();
    let deaf = || Lock::new(Arc::new(Wire::deaf(rig.memory.clone())), LockConfig::default());
    let slow = || {
        let (lock, faults) = rig.faulty();
        faults.always(Operation::ALL, &Fault::Delay(ms(3)));
        lock
    };
    a_hundred_at_once(vec![deaf(), slow(), rig.process(), deaf()]).await;
}

#[tokio::test(start_paused = true)]
async fn who_has_it_not_cannot_take_extend_or_release_it() {
    let rig = Rig::default();
    let (first, second) = (rig.process(), rig.process());
    let held = first.try_acquire(KEY).await.unwrap().unwrap();
    assert!(second.try_acquire(KEY).await.unwrap().is_none());
    assert!(
        first.try_acquire(KEY).await.unwrap().is_none(),
        "not even in its process"
    );

    // Deleted by an operator, taken by somebody else.
    rig.memory.del(&[LOCK_KEY]).await.unwrap();
    let other = second.try_acquire(KEY).await.unwrap().unwrap();
    let stored = rig.stored().await;
    assert!(matches!(held.extend().await, Err(LockError::Lost(_))));
    assert!(!held.is_held());
    assert!(!held.release().await.unwrap());
    assert_eq!(rig.stored().await, stored);
    assert!(other.release().await.unwrap());
    assert_eq!(rig.stored().await, None);
}

#[tokio::test(start_paused = true)]
async fn locks_of_other_keys_are_other_locks() {
    let lock = Rig::default().process();
    let one = lock.try_acquire(KEY).await.unwrap().unwrap();
    let two = lock.try_acquire("jobs:{acme}:hourly").await.unwrap().unwrap();
    assert!(one.is_held() && two.is_held());
}

#[tokio::test(start_paused = true)]
async fn no_debug_form_shows_a_token() {
    let rig = Rig::default();
    let lock = rig.process();
    let held = lock.try_acquire(KEY).await.unwrap().unwrap();
    let stored = rig.stored().await.unwrap();
    let token = stored.split(' ').nth(1).unwrap();
    assert_eq!(token.len(), 32);
    assert_eq!(stored, format!("1 {token} {}", held.fence()));
    assert!(!format!("{held:?} {held:#?} {lock:?}").contains(token));
}
