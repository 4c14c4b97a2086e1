//! What is built on a client works on one that encrypts: limits, locks, generations, leases of loads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cache_core::{CacheClient, Keyspace};
use cache_layers::encrypted::Migration;
use cache_layers::read_through::Coordination;
use cache_layers::{
    Generations, GenerationsConfig, Loaded, Lock, LockConfig, Quota, RateLimiter, RateLimiterConfig,
    ReadThrough, ReadThroughConfig,
};

use crate::rig::{FORMS, HOUR, MIGRATIONS, Rig, stored_key};
use crate::store::{key, keyset};

/// In both forms and modes: two instances, of which one has a newer primary key.
async fn each(test: impl AsyncFn(Rig, Rig)) {
    for form in FORMS {
        for migration in MIGRATIONS {
            let one = Rig::new(keyset(7, &[key(7), key(8)]), form, migration).await;
            let other = Rig::over(&one.remote, keyset(8, &[key(8), key(7)]), form, migration).await;
            test(one, other).await;
        }
    }
}

fn client(rig: &Rig) -> Arc<dyn CacheClient> {
    rig.cache.clone()
}

#[tokio::test(start_paused = true)]
async fn rate_limiter_counts_for_both_instances() {
    each(async |one, other| {
        let limiter = |rig| RateLimiter::new(client(rig), RateLimiterConfig::default());
        let limiters = [limiter(&one), limiter(&other)];
        let quota = Quota::fixed(10, Duration::from_secs(60));
        let mut allowed = 0;
        for call in 0..30 {
            let decision = limiters[call % 2].check("caller", &quota).await.unwrap();
            allowed += u32::from(decision.allowed);
        }
        assert_eq!(allowed, 10);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn lock_excludes_the_other_instance_and_its_number_grows() {
    each(async |one, other| {
        let lock = |rig| Lock::new(client(rig), LockConfig::default());
        let (first, second) = (lock(&one), lock(&other));
        let held = first.try_acquire("job").await.unwrap().expect("it is free");
        assert!(second.try_acquire("job").await.unwrap().is_none());
        let before = held.fence();
        held.release().await.unwrap();
        let held = second
            .try_acquire("job")
            .await
            .unwrap()
            .expect("it is free again");
        assert!(held.fence() > before);
        held.release().await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn generations_are_seen_by_both_instances() {
    each(async |one, other| {
        let generations = |rig| Generations::new(client(rig), GenerationsConfig::default());
        let (first, second) = (generations(&one), generations(&other));
        let tenant = Keyspace::new("tenant").unwrap();
        let old = first.current(&tenant).await.unwrap().number();
        let new = second.bump(&tenant).await.unwrap().number();
        assert!(new > old);
        let third = generations(&one);
        assert_eq!(third.current(&tenant).await.unwrap().number(), new);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn value_is_loaded_once_for_both_instances() {
    each(async |one, other| {
        let loads = Arc::new(AtomicU32::new(0));
        let through = |rig| {
            let lease = Duration::from_secs(5);
            let config = ReadThroughConfig::builder().coordination(Coordination::Fleet { lease });
            ReadThrough::new(client(rig), config.build().unwrap())
        };
        let throughs = [through(&one), through(&other)];
        let read = |number: usize| {
            let (through, loads) = (throughs[number].clone(), Arc::clone(&loads));
            async move {
                let load = move || async move {
                    loads.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    Ok::<_, std::io::Error>(Loaded::new("value"))
                };
                through.get_or_load("key", load).await.unwrap().value.unwrap()
            }
        };
        let (first, second) = tokio::join!(read(0), read(1));
        assert_eq!((&first[..], &second[..]), (&b"value"[..], &b"value"[..]));
        assert_eq!(read(1).await, "value");
        assert_eq!(loads.load(Ordering::Relaxed), 1);
    })
    .await;
}

/// Whoever takes an entry for a miss loads, and what was loaded is stored where it can be.
#[tokio::test(start_paused = true)]
async fn load_heals_an_entry_that_no_reader_can_read() {
    for form in FORMS {
        let rig = Rig::new(keyset(7, &[key(7)]), form, Migration::Strict).await;
        rig.store_raw(&stored_key(form, "key"), "plaintext").await;
        let through = ReadThrough::new(client(&rig), ReadThroughConfig::default());
        for _ in 0..2 {
            let load = || async { Ok::<_, std::io::Error>(Loaded::new("value")) };
            let value = through.get_or_load("key", load).await.unwrap();
            assert_eq!(value.value.unwrap(), "value");
            through.settled().await;
        }
        assert_eq!(through.stats().loads, 1);
        assert!(rig.cache.expire("key", HOUR).await.unwrap());
    }
}
