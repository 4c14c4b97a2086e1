//! Fencing numbers grow, whatever happens.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheClient, Ttl};
use cache_layers::{Lock, LockConfig, WallClock};
use cache_mock::{Fault, Operation};

use crate::rig::{FENCE_KEY, KEY, LEASE, Rig, ms, secs};

async fn next(lock: &Lock) -> u64 {
    let held = lock.acquire(KEY, secs(100)).await.unwrap();
    let fence = held.fence().get();
    held.release().await.unwrap();
    fence
}

#[tokio::test(start_paused = true)]
async fn each_holder_has_a_greater_number() {
    let rig = Rig::default();
    let processes = [rig.process(), rig.process()];
    let mut last = 0;
    for turn in 0..100 {
        let fence = next(&processes[turn % 2]).await;
        assert!(fence > last);
        last = fence;
    }
    // The first is the time in milliseconds, later than 2026.
    assert!(last > 1_767_225_600_000);
}

#[tokio::test(start_paused = true)]
async fn of_two_holders_the_slower_has_no_greater_number() {
    let rig = Rig::default();
    let (slow, faults) = rig.faulty();
    next(&slow).await;
    // Its lock runs out before it has its number, which then is greater than that of the next holder: so it
    // must not have it.
    faults.next(Operation::IncrBy, Fault::Delay(LEASE * 2));
    let (slow, fast) = tokio::join!(slow.try_acquire(KEY), async {
        tokio::time::sleep(LEASE + ms(1)).await;
        let held = rig.process().try_acquire(KEY).await.unwrap().unwrap();
        tokio::time::sleep(LEASE * 2).await;
        held
    });
    assert!(slow.unwrap().is_none());
    assert!(next_after(&rig, fast).await);
}

async fn next_after(rig: &Rig, held: cache_layers::Held) -> bool {
    let before = held.fence();
    held.release().await.unwrap();
    let lock = rig.process();
    let fence = lock.acquire(KEY, secs(1)).await.unwrap().fence();
    fence > before
}

/// A time of day that is told.
#[derive(Debug)]
struct Told(Duration);

impl WallClock for Told {
    fn since_epoch(&self) -> Duration {
        self.0
    }
}

#[tokio::test(start_paused = true)]
async fn a_counter_that_was_lost_begins_beyond_what_it_was() {
    let rig = Rig::default();
    let at = |millis: u64| {
        let clock = Arc::new(Told(secs(1_800_000_000) + ms(millis)));
        let config = LockConfig::builder().clock(clock).build().unwrap();
        Lock::new(rig.memory.clone(), config)
    };
    let mut last = 0;
    for round in 0..10 {
        for _ in 0..10 {
            let fence = next(&at(round * 11)).await;
            assert!(fence > last, "{last} then {fence}");
            last = fence;
        }
        assert_eq!(rig.memory.del(&[FENCE_KEY]).await.unwrap(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_counter_lives_for_a_month_from_its_first_number_on() {
    let rig = Rig::default();
    let lock = rig.process();
    next(&lock).await;
    let month = secs(30 * 24 * 3_600);
    assert_eq!(rig.memory.ttl(FENCE_KEY).await.unwrap(), Ttl::After(month));
    tokio::time::sleep(secs(100)).await;
    next(&lock).await;
    assert_eq!(
        rig.memory.ttl(FENCE_KEY).await.unwrap(),
        Ttl::After(month - secs(100))
    );
}

#[tokio::test(start_paused = true)]
async fn two_who_find_no_counter_do_not_begin_it_twice() {
    let rig = Rig::default();
    let (slow, faults) = rig.faulty();
    // It has added to a counter that was not there, and loses its lock before it has begun it.
    faults.next(Operation::CompareAndSet, Fault::Delay(LEASE + secs(1)));
    let (slow, fast) = tokio::join!(slow.try_acquire(KEY), async {
        tokio::time::sleep(LEASE + ms(1)).await;
        let held = rig.process().try_acquire(KEY).await.unwrap().unwrap();
        tokio::time::sleep(secs(5)).await;
        held
    });
    assert!(slow.unwrap().is_none());
    let limit = fast.fence().get() + 1_000;
    assert!(next_after(&rig, fast).await);
    assert!(next(&rig.process()).await < limit);
}
