//! Rotations, in every order in which instances can take their steps. Scenario 81.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheClient, MemoryCache};
use cache_layers::encrypted::{Migration, StoredForm};
use cache_layers::{Encrypted, Keyring, KeyringConfig};

use crate::rig::{FORMS, HOUR, Rig, config, found, keyring};
use crate::store::{TestKey, TestStore, key, keyset};

const INSTANCES: usize = 3;
const OLD: TestKey = key(7);
const NEW: TestKey = key(8);

/// The keysets of a rotation, step by step.
fn stages() -> [String; 5] {
    [
        keyset(OLD.id, &[OLD]),
        keyset(OLD.id, &[OLD, NEW]),
        keyset(NEW.id, &[OLD, NEW]),
        keyset(NEW.id, &[OLD.disabled(), NEW]),
        keyset(NEW.id, &[NEW]),
    ]
}

const STAGES: usize = 5;

/// The first stage that seals with the new key, and the first that does not open with the old one.
const PROMOTED: usize = 2;
const DISABLED: usize = 3;

/// Whether an instance at stage `reader` opens what one at stage `writer` sealed.
const fn opens(writer: usize, reader: usize) -> bool {
    if writer < PROMOTED {
        reader < DISABLED
    } else {
        reader > 0
    }
}

/// A client for each instance at each stage, over one cache.
async fn clients(form: StoredForm) -> (Arc<MemoryCache>, Vec<Rig>) {
    let remote = Arc::new(MemoryCache::default());
    let mut rigs = Vec::new();
    for stage in stages() {
        rigs.push(Rig::over(&remote, stage, form, Migration::Strict).await);
    }
    (remote, rigs)
}

/// All orders in which the instances take one step.
fn orders() -> Vec<[usize; INSTANCES]> {
    let mut orders = Vec::new();
    for a in 0..INSTANCES {
        for b in 0..INSTANCES {
            for c in 0..INSTANCES {
                if a != b && b != c && a != c {
                    orders.push([a, b, c]);
                }
            }
        }
    }
    orders
}

/// If no instance takes a step before all have taken the last one, every instance reads what every other one wrote, at
/// every moment; up to the step that disables the old key, also what was written at any time before.
#[tokio::test]
async fn steps_in_order_lose_nothing_in_any_order_of_instances() {
    for form in FORMS {
        let (_, rigs) = clients(form).await;
        let orders = orders();
        assert_eq!(orders.len(), 6);
        let mut number = 0;
        // Instances at the same stage are the same, so what counts is the order of a step and of the one before.
        for path in 0..orders.len().pow(2) {
            let mut at = [0; INSTANCES];
            let mut written: Vec<(String, usize)> = Vec::new();
            for step in 1..STAGES {
                let digit = u32::try_from(step % 2).unwrap();
                let order = orders[path / orders.len().pow(digit) % orders.len()];
                if step == DISABLED {
                    // Two lives after the promotion, nothing of the old key is left.
                    written.retain(|(_, stage)| *stage >= PROMOTED);
                }
                for instance in order {
                    at[instance] = step;
                    for stage in at {
                        number += 1;
                        let name = format!("k{}", number % 500);
                        rigs[stage]
                            .cache
                            .set(&name, name.clone().into(), HOUR)
                            .await
                            .unwrap();
                        written.retain(|(old, _)| *old != name);
                        written.push((name, stage));
                    }
                    for (name, writer) in &written {
                        for reader in at {
                            let value = rigs[reader].get(name).await;
                            assert_eq!(
                                value.as_deref(),
                                Some(name.as_bytes()),
                                "{form:?}: written at {writer}, read at {reader}"
                            );
                        }
                    }
                }
            }
        }
        assert!(
            rigs.iter()
                .all(|rig| rig.stats().unknown_key == 0 && rig.stats().removed == 0)
        );
    }
}

/// Instances at any two stages: a miss at most, no error of any method, and the entry is still there for whoever can read
/// it.
#[tokio::test]
async fn steps_out_of_order_are_misses_and_never_delete_a_good_entry() {
    for form in FORMS {
        let (_, rigs) = clients(form).await;
        for writer in 0..STAGES {
            for reader in 0..STAGES {
                let name = format!("{writer} to {reader}");
                rigs[writer].cache.set(&name, "value".into(), HOUR).await.unwrap();
                let cache = &rigs[reader].cache;
                let value = opens(writer, reader).then(|| "value".into());
                assert_eq!(found(cache.get(&name).await), value, "{name}");
                let entry = found(cache.get_entry(&name).await);
                assert_eq!(entry.map(|entry| entry.value), value, "{name}");
                assert_eq!(cache.get_many(&[&name]).await.unwrap(), [value], "{name}");
                assert!(!cache.set_if_absent(&name, "other".into(), HOUR).await.unwrap());
                assert!(
                    !cache
                        .compare_and_set(&name, b"else", "other".into(), HOUR)
                        .await
                        .unwrap()
                );
                assert!(!cache.compare_and_delete(&name, b"else").await.unwrap());
                assert!(cache.expire(&name, HOUR).await.unwrap());
                assert_eq!(
                    rigs[writer].get(&name).await.unwrap(),
                    "value",
                    "{name}: it is still there"
                );
                // What the reader loads instead is read by itself.
                cache.set(&name, "fresh".into(), HOUR).await.unwrap();
                assert_eq!(found(cache.get(&name).await).unwrap(), "fresh");
            }
        }
        assert!(rigs.iter().all(|rig| rig.stats().removed == 0));
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// An instance with a keyring of its own, which refreshes in its own time.
async fn instance(
    remote: &Arc<MemoryCache>,
    store: &TestStore,
    form: StoredForm,
) -> (Encrypted, Arc<Keyring>) {
    let keyring = keyring(store, KeyringConfig::default()).await;
    let cache = Encrypted::new(
        remote.clone(),
        Arc::clone(&keyring),
        config(form, Migration::Strict),
    );
    (cache, keyring)
}

/// The schedule of the documentation, in virtual time, with values that live an hour: added at 0, promoted after 75
/// minutes, disabled after 150. Every minute each instance writes, and reads all that is to be there.
#[tokio::test(start_paused = true)]
async fn schedule_of_the_docs_loses_nothing() {
    for form in FORMS {
        let stages = stages();
        let remote = Arc::new(MemoryCache::default());
        let store = TestStore::new(stages[0].clone());
        let mut instances = Vec::new();
        for _ in 0..4 {
            instances.push(instance(&remote, &store, form).await);
            tokio::time::sleep(MINUTE * 4).await;
        }
        for minute in 0..240_u32 {
            match minute {
                0 => store.put(stages[1].clone()),
                75 => store.put(stages[2].clone()),
                150 => store.put(stages[3].clone()),
                225 => store.put(stages[4].clone()),
                _ => {}
            }
            for (number, (cache, _)) in instances.iter().enumerate() {
                let name = format!("{minute}:{number}");
                cache.set(&name, name.clone().into(), HOUR).await.unwrap();
            }
            for (cache, _) in &instances {
                for age in [0, 1, 14, 16, 30, 59] {
                    let Some(written) = minute.checked_sub(age) else {
                        continue;
                    };
                    for number in 0..instances.len() {
                        let name = format!("{written}:{number}");
                        let value = found(cache.get(&name).await);
                        assert_eq!(value.as_deref(), Some(name.as_bytes()), "at minute {minute}");
                    }
                }
            }
            tokio::time::sleep(MINUTE).await;
        }
        for (cache, keyring) in &instances {
            let stats = cache.stats();
            assert_eq!((stats.unknown_key, stats.refused, stats.removed), (0, 0, 0));
            assert_eq!(keyring.status().primary_key_id, NEW.id);
            assert!(keyring.stats().changed >= 3, "{:?}", keyring.stats());
        }
    }
}

/// A new key that is promoted at once: whoever does not have it yet learns it from the first entry that names it.
#[tokio::test(start_paused = true)]
async fn key_that_is_promoted_at_once_is_learned_from_the_first_entry() {
    let stages = stages();
    let remote = Arc::new(MemoryCache::default());
    let store = TestStore::new(stages[0].clone());
    let (first, _) = instance(&remote, &store, StoredForm::Tink).await;
    let (second, keyring) = instance(&remote, &store, StoredForm::Tink).await;
    tokio::time::sleep(MINUTE).await;
    store.put(stages[2].clone());
    first.keyring().refresh().await.unwrap();
    first.set("k", "value".into(), HOUR).await.unwrap();
    assert_eq!(second.get("k").await.unwrap(), "value", "no miss");
    assert_eq!(keyring.status().primary_key_id, NEW.id);
    assert_eq!(second.stats().unknown_key, 0);
}
