//! A lost lock cancels the work under it, and in time.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheClient, Ttl, clock};
use cache_layers::lock::Loss;
use cache_layers::{Lock, LockConfig, LockError};
use cache_mock::{Fault, Operation};

use crate::rig::{Endless, KEY, LEASE, LOCK_KEY, RELIED_ON, Rig, ms, secs};
use crate::wire::Wire;

#[tokio::test(start_paused = true)]
async fn a_deleted_lock_cancels_the_work_at_once_where_changes_are_reported() {
    let rig = Rig::default();
    let (lock, work) = (rig.process(), Endless::default());
    let begun = clock::now();
    let (lost, ()) = tokio::join!(lock.run(KEY, secs(1), |_| work.work()), async {
        tokio::time::sleep(secs(1)).await;
        rig.memory.del(&[LOCK_KEY]).await.unwrap();
    });
    assert!(matches!(lost, Err(LockError::Lost(Loss::Gone))), "{lost:?}");
    assert_eq!(work.dropped_at(), Some(begun + secs(1)));
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_was_taken_over_cancels_the_work_at_the_next_extension_where_they_are_not() {
    let rig = Rig::default();
    let deaf = Lock::new(Arc::new(Wire::deaf(rig.memory.clone())), LockConfig::default());
    let work = Endless::default();
    let begun = clock::now();
    let (lost, stored) = tokio::join!(deaf.run(KEY, secs(1), |_| work.work()), async {
        tokio::time::sleep(secs(1)).await;
        rig.memory
            .set(LOCK_KEY, "somebody else".into(), Ttl::secs(100))
            .await
            .unwrap();
        tokio::time::sleep(LEASE).await;
        rig.stored().await.unwrap()
    });
    assert!(matches!(lost, Err(LockError::Lost(Loss::Gone))), "{lost:?}");
    assert_eq!(stored, "somebody else");
    let took = work.dropped_at().unwrap() - begun;
    assert!(took <= LEASE / 3 + ms(2), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_cannot_be_extended_cancels_the_work_before_anybody_else_can_have_it() {
    for fault in [
        Fault::Hang,
        Fault::connection_lost(),
        Fault::LostRequest(secs(3)),
        Fault::LostRequest(ms(1)),
    ] {
        let rig = Rig::default();
        let (lock, faults) = rig.faulty();
        let work = Endless::default();
        let begun = clock::now();
        let holding = async {
            let lost = lock.run(KEY, secs(1), |_| {
                faults.always(Operation::ALL, &fault);
                work.work()
            });
            tokio::time::timeout(secs(60), lost).await
        };
        let (_, other) = tokio::join!(holding, async {
            tokio::time::sleep(ms(1)).await;
            let held = rig.process().acquire(KEY, secs(60)).await.unwrap();
            (clock::now(), held)
        });
        assert_eq!(work.dropped_at(), Some(begun + RELIED_ON), "{fault:?}");
        assert!(other.0 >= begun + LEASE);
    }
}

#[tokio::test(start_paused = true)]
async fn the_lease_counts_from_the_request_not_from_the_reply() {
    let rig = Rig::default();
    let (lock, faults) = rig.faulty_with(|config| config.auto_extend(false));
    // On its way there and back for four seconds; the first makes the counter of fencing numbers.
    faults.nth(2, Operation::CompareAndSet, Fault::Delay(secs(4)));
    let held = lock.try_acquire(KEY).await.unwrap().unwrap();
    assert_eq!(held.remaining(), RELIED_ON - secs(4));
    // So does that of an extension.
    faults.next(Operation::CompareAndSet, Fault::Delay(secs(2)));
    held.extend().await.unwrap();
    assert_eq!(held.remaining(), RELIED_ON - secs(2));
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_once_is_not_held_again_though_an_extension_comes_through() {
    let rig = Rig::default();
    let (lock, faults) = rig.faulty_with(|config| config.auto_extend(false));
    let held = lock.try_acquire(KEY).await.unwrap().unwrap();
    tokio::time::sleep(RELIED_ON - ms(1)).await;
    faults.next(Operation::CompareAndSet, Fault::Delay(ms(500)));
    let extended = held.extend().await;
    assert!(matches!(extended, Err(LockError::Lost(Loss::Expired))));
    tokio::time::sleep(ms(600)).await;
    assert!(!held.is_held());
    assert_eq!(held.lost().await, Loss::Expired);
    assert_eq!(held.remaining(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn work_that_ends_after_the_lock_was_deleted_unnoticed_was_not_guarded() {
    let rig = Rig::default();
    let deaf = Lock::new(Arc::new(Wire::deaf(rig.memory.clone())), LockConfig::default());
    let work = |_| async {
        rig.memory.del(&[LOCK_KEY]).await.unwrap();
    };
    let done = deaf.run(KEY, secs(1), work).await;
    assert!(matches!(done, Err(LockError::Lost(Loss::Gone))), "{done:?}");
}

/// In real time: virtual time stands still while work blocks.
#[tokio::test]
async fn work_that_blocks_its_thread_beyond_the_lease_was_not_guarded() {
    let rig = Rig::default();
    let (lock, _) = rig.faulty_with(|config| config.lease(ms(100)));
    #[expect(
        clippy::disallowed_methods,
        reason = "work that does not yield is what is tested"
    )]
    let work = |_| async { std::thread::sleep(ms(150)) };
    let done = lock.run(KEY, secs(1), work).await;
    assert!(matches!(done, Err(LockError::Lost(Loss::Expired))), "{done:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_lags_behind_takes_no_lock_away() {
    let rig = Rig::default();
    let (lock, faults) = rig.faulty();
    faults.always(
        &[Operation::GetEntry],
        &Fault::Error(cache_core::CacheError::Miss),
    );
    let held = lock.try_acquire(KEY).await.unwrap().unwrap();
    tokio::time::sleep(LEASE * 3).await;
    assert!(held.is_held());
}
