//! A backend of several parts, of which one is down: its circuit is open, those of the others are not.

use std::ops::RangeInclusive;
use std::sync::Arc;

use cache_core::slot::slot_of;
use cache_core::{CacheClient, CacheError, Outcome, Ttl, Unavailability};
use cache_layers::Guarded;
use cache_layers::guarded::{BreakerState, GuardedConfigBuilder, OnFailure};
use cache_mock::{Fault, Faults, Operation};

use crate::rig::{guard, ms, timed};

fn is_shed<T>(result: &Result<T, CacheError>) -> bool {
    matches!(
        result,
        Err(CacheError::Unavailable {
            reason: Unavailability::CircuitOpen,
            ..
        })
    )
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_down_opens_its_circuit_and_no_other() {
    for fault in [Fault::connection_lost(), Fault::Hang] {
        let (cache, faults) = guard(|config| {
            let config = config.part_of(|key| u64::from(key.starts_with("lost")));
            config.deadline(ms(100))
        });
        cache.set("spared", "1".into(), Ttl::Forever).await.unwrap();
        faults.on_key("lost", Operation::ALL, &fault);
        // Nothing but calls of that part reach the backend: a near cache answers the rest.
        for _ in 0..20 {
            assert!(cache.get("lost").await.is_err());
        }
        let shed = cache.get("lost").await;
        assert!(is_shed(&shed), "{shed:?}");
        assert_eq!((cache.state(), cache.stats().opened), (BreakerState::Closed, 1));
        for _ in 0..20 {
            cache.set("spared", "1".into(), Ttl::Forever).await.unwrap();
            assert_eq!(cache.get("spared").await.unwrap(), "1");
            assert!(is_shed(&cache.get("lost").await));
        }
        assert_eq!(cache.get_many(&["spared", "spared"]).await.unwrap().len(), 2);
        cache.ping().await.unwrap();

        // A call with keys of both parts is one call for each.
        assert!(is_shed(&cache.get_many(&["spared", "lost"]).await));
        assert_eq!(cache.get("spared").await.unwrap(), "1");

        // More than there were good ones.
        faults.on_key("spared", Operation::ALL, &fault);
        for _ in 0..60 {
            assert!(cache.get("spared").await.is_err());
        }
        assert_eq!(cache.state(), BreakerState::Open);
        faults.heal();
        tokio::time::sleep(ms(1_000)).await;
        assert_eq!(cache.get("spared").await.unwrap(), "1");
        assert!(cache.get("lost").await.unwrap_err().is_miss());
        assert_eq!(cache.state(), BreakerState::Closed);
    }
}

/// The slots of the node that is down, one of three.
const LOST: RangeInclusive<u16> = 5_461..=10_922;

/// A guard of a cluster of three nodes, of which one hangs and has opened its circuit; twelve keys over all nodes.
async fn one_node_of_three_is_down(
    change: impl FnOnce(GuardedConfigBuilder) -> GuardedConfigBuilder,
) -> (Arc<Guarded>, Faults, Vec<String>) {
    let keys: Vec<String> = (0..12).map(|number| format!("key:{number}")).collect();
    let of_node = |key: &str| u64::from(slot_of(key.as_bytes()) / 5_461);
    let (cache, faults) = guard(|config| change(config.part_of(of_node).deadline(ms(100))));
    for key in &keys {
        cache.set(key, "1".into(), Ttl::Forever).await.unwrap();
    }
    let lost = keys.iter().filter(|key| is_lost(key)).count();
    assert!((2..=10).contains(&lost), "{lost} keys of the node");
    faults.on_slots(LOST, Operation::ALL, &Fault::Hang);
    let lost = keys.iter().find(|key| is_lost(key)).unwrap();
    for _ in 0..60 {
        let _failed = cache.get(lost).await;
    }
    (cache, faults, keys)
}

fn is_lost(key: &str) -> bool {
    LOST.contains(&slot_of(key.as_bytes()))
}

#[tokio::test(start_paused = true)]
async fn open_circuit_of_a_node_sheds_its_keys_of_a_batch_at_once() {
    let (cache, _faults, keys) = one_node_of_three_is_down(|config| config).await;
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();

    let (results, took) = timed(cache.get_each(&keys)).await;
    assert!(took < ms(1), "waited {took:?} for the node that is down");
    for (key, result) in keys.iter().zip(&results) {
        if is_lost(key) {
            assert!(is_shed(result), "{result:?}");
        } else {
            assert_eq!(result.as_ref().unwrap(), "1");
        }
    }

    let entries: Vec<_> = keys.iter().map(|key| (*key, "2".into(), Ttl::Forever)).collect();
    let (results, took) = timed(cache.set_each(&entries)).await;
    assert!(took < ms(1), "waited {took:?} for the node that is down");
    for (key, result) in keys.iter().zip(&results) {
        assert_eq!(result.is_ok(), !is_lost(key), "{result:?}");
    }

    // One answer for all: the healthy nodes are written, and the call says that one was not.
    let entries: Vec<_> = keys.iter().map(|key| (*key, "3".into())).collect();
    let (result, took) = timed(cache.set_many(&entries, Ttl::Forever)).await;
    assert!(is_shed(&result) && took < ms(1), "{result:?} after {took:?}");
    assert_eq!(
        result.unwrap_err().outcome(),
        Outcome::Unknown,
        "the other nodes were written"
    );
    let spared = keys.iter().copied().find(|key| !is_lost(key)).unwrap();
    assert_eq!(cache.get(spared).await.unwrap(), "3");
    let (result, took) = timed(cache.get_many(&keys)).await;
    assert!(is_shed(&result) && took < ms(1), "{result:?} after {took:?}");
    let (result, took) = timed(cache.exists(&keys)).await;
    assert!(is_shed(&result) && took < ms(1), "{result:?} after {took:?}");
    let (result, took) = timed(cache.del(&keys)).await;
    assert!(is_shed(&result) && took < ms(1), "{result:?} after {took:?}");
    assert_eq!(
        result.unwrap_err().outcome(),
        Outcome::Unknown,
        "the other nodes were written"
    );
    assert!(cache.get(spared).await.unwrap_err().is_miss());

    // An illegal key is the client's to refuse, and nothing is sent.
    let illegal = [keys[0], "", keys[1], keys[2]];
    assert_eq!(
        cache.get_many(&illegal).await.unwrap_err().kind(),
        "invalid_input"
    );
    let results = cache.get_each(&illegal).await;
    assert_eq!(results[1].as_ref().unwrap_err().kind(), "invalid_input");
    assert_eq!(cache.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn bypass_answers_a_batch_as_if_the_node_that_is_down_were_empty() {
    let (cache, _faults, keys) =
        one_node_of_three_is_down(|config| config.on_failure(OnFailure::Bypass)).await;
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let spared = keys.iter().filter(|key| !is_lost(key)).count();
    let (values, took) = timed(cache.get_many(&keys)).await;
    assert!(took < ms(1), "waited {took:?}");
    for (key, value) in keys.iter().zip(values.unwrap()) {
        assert_eq!(value.is_none(), is_lost(key));
    }
    let spared = u64::try_from(spared).unwrap();
    assert_eq!(cache.exists(&keys).await.unwrap(), spared);
    assert_eq!(cache.del(&keys).await.unwrap(), spared);
}

#[tokio::test(start_paused = true)]
async fn batches_alone_open_the_circuit_of_the_node_that_is_down() {
    let (cache, faults, keys) = one_node_of_three_is_down(|config| config).await;
    faults.heal();
    tokio::time::sleep(ms(1_000)).await;
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert!(cache.get_each(&keys).await.iter().all(Result::is_ok));
    let opened = cache.stats().opened;

    faults.on_slots(LOST, Operation::ALL, &Fault::Hang);
    for _ in 0..60 {
        let (results, took) = timed(cache.get_each(&keys)).await;
        assert!(took <= ms(100), "{took:?}");
        assert!(
            keys.iter()
                .zip(&results)
                .all(|(key, result)| is_lost(key) || result.is_ok())
        );
    }
    assert!(cache.stats().opened > opened);
    let (_, took) = timed(cache.get_each(&keys)).await;
    assert!(took < ms(1), "waited {took:?}");
}

#[tokio::test(start_paused = true)]
async fn value_over_the_limit_keeps_a_batch_of_several_nodes_from_being_stored() {
    let (cache, _faults) = guard(|config| config.part_of(|key| u64::from(key.starts_with("other"))));
    let large = cache_core::Bytes::from(vec![0; 65 * 1024 * 1024]);
    let entries = [("first", "1".into()), ("other", large)];
    let error = cache.set_many(&entries, Ttl::Forever).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        ("invalid_input", Outcome::NotApplied)
    );
    assert!(
        cache.get("first").await.unwrap_err().is_miss(),
        "a part of the batch was stored"
    );
}
