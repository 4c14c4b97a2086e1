//! Those who wait are woken, in order, and no longer than they want to.

use std::sync::{Arc, Mutex};

use cache_core::{CacheClient, clock};
use cache_layers::{Lock, LockConfig, LockError};
use cache_mock::{Fault, Operation};
use futures::future::join_all;

use crate::rig::{KEY, LOCK_KEY, Rig, ms, secs};
use crate::wire::Wire;

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken_at_once_where_changes_are_reported() {
    let rig = Rig::default();
    let (lock, faults) = rig.faulty();
    let held = rig.process().try_acquire(KEY).await.unwrap().unwrap();
    let begun = clock::now();
    let (woken, ()) = tokio::join!(lock.acquire(KEY, secs(60)), async {
        tokio::time::sleep(secs(2)).await;
        held.release().await.unwrap();
    });
    assert!(woken.is_ok());
    assert!(clock::now() - begun <= secs(2) + ms(1));
    assert!(
        faults.calls(Operation::SetIfAbsent) <= 3,
        "it did not keep asking"
    );
}

#[tokio::test(start_paused = true)]
async fn who_waits_looks_again_after_a_while_where_they_are_not() {
    let rig = Rig::default();
    let deaf = Lock::new(Arc::new(Wire::deaf(rig.memory.clone())), LockConfig::default());
    let held = rig.process().try_acquire(KEY).await.unwrap().unwrap();
    let begun = clock::now();
    let (woken, ()) = tokio::join!(deaf.acquire(KEY, secs(60)), async {
        tokio::time::sleep(secs(2)).await;
        held.release().await.unwrap();
    });
    assert!(woken.is_ok());
    assert!(clock::now() - begun <= secs(2) + ms(151));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_wanted() {
    let rig = Rig::default();
    let _held = rig.process().try_acquire(KEY).await.unwrap().unwrap();
    let (lock, faults) = rig.faulty();
    for hang in [false, true] {
        if hang {
            faults.always(Operation::ALL, &Fault::Hang);
        }
        let begun = clock::now();
        let error = lock.acquire(KEY, ms(250)).await.unwrap_err();
        assert_eq!(error.to_string(), "the lock was not free within 250ms");
        assert_eq!(clock::now() - begun, ms(250));
    }
}

#[tokio::test(start_paused = true)]
async fn within_a_process_first_come_is_first_served_and_one_asks_for_all() {
    let rig = Rig::default();
    let (lock, faults) = rig.faulty();
    let held = lock.try_acquire(KEY).await.unwrap().unwrap();
    let order = Mutex::new(Vec::new());
    let waiting = (0..50).map(|number| {
        let (lock, order) = (&lock, &order);
        async move {
            let held = lock.acquire(KEY, secs(60)).await.unwrap();
            order.lock().unwrap().push(number);
            held.release().await.unwrap();
        }
    });
    tokio::join!(join_all(waiting), async {
        tokio::time::sleep(secs(1)).await;
        held.release().await.unwrap();
    });
    assert_eq!(*order.lock().unwrap(), Vec::from_iter(0..50));
    let asked = faults.calls(Operation::SetIfAbsent);
    assert!(asked <= 52 + 50, "{asked}");
}

#[tokio::test(start_paused = true)]
async fn one_who_leaves_the_queue_strands_nobody() {
    let rig = Rig::default();
    let lock = rig.process();
    let held = lock.try_acquire(KEY).await.unwrap().unwrap();
    let (left, stayed, ()) = tokio::join!(lock.acquire(KEY, ms(10)), lock.acquire(KEY, secs(5)), async {
        tokio::time::sleep(ms(100)).await;
        held.release().await.unwrap();
    });
    assert!(matches!(left, Err(LockError::Taken { .. })));
    assert!(stayed.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_fails_for_a_while_is_waited_for() {
    let rig = Rig::default();
    let (lock, faults) = rig.faulty();
    faults.always(Operation::ALL, &Fault::connection_lost());
    let (held, ()) = tokio::join!(lock.acquire(KEY, secs(5)), async {
        tokio::time::sleep(secs(1)).await;
        faults.heal();
    });
    held.unwrap().release().await.unwrap();

    faults.always(Operation::ALL, &Fault::connection_lost());
    let error = lock.acquire(KEY, secs(1)).await.unwrap_err();
    assert!(matches!(error, LockError::Cache(_)), "{error}");
    faults.heal();
    rig.memory.close().await.unwrap();
    let begun = clock::now();
    assert!(lock.acquire(KEY, secs(5)).await.is_err());
    assert_eq!(
        clock::now(),
        begun,
        "what does not pass by itself is not waited for"
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_that_cannot_be_one_is_refused() {
    let lock = Rig::default().process();
    let long = "k".repeat(cache_core::MAX_KEY_LEN);
    for key in ["", &long] {
        assert!(matches!(
            lock.acquire(key, secs(1)).await,
            Err(LockError::Cache(cache_core::CacheError::InvalidInput { .. }))
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_without_an_expiry_that_stands_in_the_way_is_waited_for_like_a_holder() {
    let rig = Rig::default();
    let forever = cache_core::Ttl::Forever;
    rig.memory.set(LOCK_KEY, "stuck".into(), forever).await.unwrap();
    let lock = rig.process();
    assert!(matches!(
        lock.acquire(KEY, secs(30)).await,
        Err(LockError::Taken { .. })
    ));
    let (held, ()) = tokio::join!(lock.acquire(KEY, secs(30)), async {
        tokio::time::sleep(secs(1)).await;
        rig.memory.del(&[LOCK_KEY]).await.unwrap();
    });
    assert!(held.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_never_polled_again_holds_up_nobody() {
    for polls in 1..10 {
        let rig = Rig::default();
        let (lock, faults) = rig.faulty();
        faults.always(Operation::ALL, &Fault::Delay(ms(10)));
        let held = rig.process().try_acquire(KEY).await.unwrap().unwrap();
        let mut stuck = Box::pin(lock.acquire(KEY, secs(60)));
        for _ in 0..polls {
            assert!(futures::poll!(&mut stuck).is_pending());
            tokio::time::sleep(ms(10)).await;
        }
        held.release().await.unwrap();
        let before = clock::now();
        let held = lock.acquire(KEY, secs(60)).await.unwrap();
        let took = clock::now() - before;
        assert!(took <= secs(1), "{took:?} after {polls} polls");
        drop(held);
    }
}
