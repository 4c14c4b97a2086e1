//! A reply that is lost leaves open whether the request was carried out: that is found out.

use cache_core::{CacheClient, clock};
use cache_mock::{Fault, Operation};

use crate::rig::{KEY, LEASE, Rig, ms, secs};

const TAKING: [Operation; 3] = [
    Operation::SetIfAbsent,
    Operation::IncrBy,
    Operation::CompareAndSet,
];

/// Each step, with the counter of fencing numbers there and not.
fn cases() -> impl Iterator<Item = (Operation, bool)> {
    [true, false]
        .into_iter()
        .flat_map(|there| TAKING.map(|operation| (operation, there)))
}

async fn prepare(rig: &Rig, counter: bool) {
    if counter {
        let held = rig.process().try_acquire(KEY).await.unwrap().unwrap();
        held.release().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_or_request_of_any_step_does_not_keep_a_free_lock_from_being_taken() {
    for (operation, counter_is_there) in cases() {
        for fault in [Fault::LostReply(ms(100)), Fault::LostRequest(ms(100))] {
            let rig = Rig::default();
            let (lock, faults) = rig.faulty();
            prepare(&rig, counter_is_there).await;
            faults.next(operation, fault.clone());
            faults.next(operation, fault);
            let held = lock.try_acquire(KEY).await.unwrap();
            let held = held.unwrap_or_else(|| panic!("{operation:?}"));
            assert_eq!(faults.pending(), 0);
            assert!(held.is_held());
            assert!(rig.process().try_acquire(KEY).await.unwrap().is_none());
            assert!(held.release().await.unwrap());
            assert_eq!(rig.stored().await, None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_does_not_make_two_holders() {
    for fault in [Fault::LostReply(ms(100)), Fault::LostRequest(ms(100))] {
        let rig = Rig::default();
        let (lock, faults) = rig.faulty();
        let held = rig.process().try_acquire(KEY).await.unwrap().unwrap();
        faults.next(Operation::SetIfAbsent, fault);
        assert!(lock.try_acquire(KEY).await.unwrap().is_none());
        assert!(held.is_held() && held.release().await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_fails_or_is_dropped_gives_back_what_it_may_have_taken() {
    for (operation, counter_is_there) in cases() {
        let rig = Rig::default();
        let (lock, faults) = rig.faulty();
        prepare(&rig, counter_is_there).await;
        faults.always(&[operation], &Fault::LostReply(ms(1)));
        assert!(lock.try_acquire(KEY).await.is_err(), "{operation:?}");
        faults.heal();
        assert_free_soon(&rig).await;

        // Carried out, and its caller gone before the reply.
        faults.next(operation, Fault::LostReply(secs(60)));
        let left = tokio::time::timeout(ms(10), lock.try_acquire(KEY)).await;
        assert!(left.is_err(), "{operation:?}");
        assert_free_soon(&rig).await;
    }
}

async fn assert_free_soon(rig: &Rig) {
    let begun = clock::now();
    let held = rig.process().acquire(KEY, secs(1)).await.unwrap();
    assert!(clock::now() - begun < ms(10));
    held.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_to_a_release_is_a_release() {
    for fault in [Fault::LostReply(ms(100)), Fault::LostRequest(ms(100))] {
        let rig = Rig::default();
        let (lock, faults) = rig.faulty();
        let held = lock.try_acquire(KEY).await.unwrap().unwrap();
        faults.next(Operation::CompareAndDelete, fault);
        assert!(held.release().await.unwrap());
        assert_eq!(rig.stored().await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_lease_ran_out_on_the_way_is_none() {
    let rig = Rig::default();
    let (lock, faults) = rig.faulty();
    faults.next(Operation::IncrBy, Fault::Delay(LEASE + ms(1)));
    let (slow, other) = tokio::join!(lock.try_acquire(KEY), async {
        tokio::time::sleep(LEASE).await;
        rig.process().try_acquire(KEY).await.unwrap().unwrap()
    });
    assert!(slow.unwrap().is_none());
    assert!(other.is_held());
    assert!(rig.memory.get(crate::rig::LOCK_KEY).await.is_ok());
}
