//! A lock that is held is extended, and one that is not held any more is free.

use cache_core::{CacheClient, Ttl, clock};
use cache_layers::LockError;
use cache_mock::{Fault, Operation};

use crate::rig::{KEY, LEASE, LOCK_KEY, RELIED_ON, Rig, ms, secs};

#[tokio::test(start_paused = true)]
async fn a_lock_is_held_for_as_long_as_the_work_takes() {
    let rig = Rig::default();
    let (lock, other) = (rig.process(), rig.process());
    let work = |_| async {
        for _ in 0..20 {
            tokio::time::sleep(LEASE / 2).await;
            assert!(other.try_acquire(KEY).await.unwrap().is_none());
        }
        42
    };
    assert_eq!(lock.run(KEY, secs(1), work).await.unwrap(), 42);
    assert!(other.try_acquire(KEY).await.unwrap().is_some(), "given back");
}

#[tokio::test(start_paused = true)]
async fn it_is_extended_every_third_of_the_lease() {
    let rig = Rig::default();
    let (lock, faults) = rig.faulty();
    let held = lock.try_acquire(KEY).await.unwrap().unwrap();
    assert_eq!(held.remaining(), RELIED_ON);
    let before = faults.calls(Operation::CompareAndSet);
    tokio::time::sleep(LEASE * 10).await;
    assert_eq!(faults.calls(Operation::CompareAndSet) - before, 29);
    assert!(held.is_held());
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_fails_for_less_than_the_lease_loses_nothing() {
    let rig = Rig::default();
    let (lock, faults) = rig.faulty();
    let held = lock.try_acquire(KEY).await.unwrap().unwrap();
    for fault in [
        Fault::connection_lost(),
        Fault::LostRequest(secs(1)),
        Fault::LostReply(secs(1)),
    ] {
        faults.always(Operation::ALL, &fault);
        tokio::time::sleep(secs(5)).await;
        faults.heal();
        tokio::time::sleep(LEASE).await;
        assert!(held.is_held(), "{fault:?}");
        assert!(rig.process().try_acquire(KEY).await.unwrap().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn who_extends_by_hand_has_the_lease_anew_each_time_and_no_longer() {
    let rig = Rig::default();
    let (lock, _) = rig.faulty_with(|config| config.auto_extend(false));
    let held = lock.try_acquire(KEY).await.unwrap().unwrap();
    for _ in 0..5 {
        tokio::time::sleep(secs(8)).await;
        held.extend().await.unwrap();
        assert_eq!(held.remaining(), RELIED_ON);
        assert_eq!(rig.memory.ttl(LOCK_KEY).await.unwrap(), Ttl::After(LEASE));
    }
    tokio::time::sleep(RELIED_ON).await;
    assert!(!held.is_held());
    assert!(matches!(held.extend().await, Err(LockError::Lost(_))));
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_dropped_is_free_at_once() {
    let rig = Rig::default();
    let (lock, other) = (rig.process(), rig.process());
    let held = lock.try_acquire(KEY).await.unwrap().unwrap();
    let begun = clock::now();
    drop(held);
    other
        .acquire(KEY, secs(1))
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
    assert!(clock::now() - begun <= ms(2));
    // So is one whose work was dropped.
    let work = lock.run(KEY, secs(1), |_| std::future::pending::<()>());
    assert!(tokio::time::timeout(ms(50), work).await.is_err());
    assert!(other.acquire(KEY, ms(10)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_is_killed_keeps_the_others_waiting_for_the_lease_at_most() {
    let rig = Rig::default();
    let (victim, faults) = rig.faulty();
    let _held = victim.try_acquire(KEY).await.unwrap().unwrap();
    faults.always(Operation::ALL, &Fault::Hang);
    let killed = clock::now();
    let _other = rig.process().acquire(KEY, secs(60)).await.unwrap();
    let took = clock::now() - killed;
    assert!(took <= LEASE + ms(2), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_cannot_be_given_back_is_an_error_or_expires() {
    let rig = Rig::default();
    let (lock, faults) = rig.faulty();
    let held = lock.try_acquire(KEY).await.unwrap().unwrap();
    faults.always(&[Operation::CompareAndDelete], &Fault::connection_lost());
    assert!(held.release().await.is_err());
    tokio::time::sleep(LEASE).await;
    assert_eq!(lock.run(KEY, secs(1), |_| async { 7 }).await.unwrap(), 7);
    assert!(rig.stored().await.is_some());
    tokio::time::sleep(LEASE).await;
    assert_eq!(rig.stored().await, None);
}
