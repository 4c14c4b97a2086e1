//! Readers and writers of this process and of others, on a slow line that breaks, in an order that chance
//! decides, seed by seed: whatever the order, nobody reads what was changed before the read began.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use cache_core::CacheClient;
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::line::Line;
use crate::rig::{Rig, ms};
use cache_layers::NearConfig;

const KEYS: [&str; 2] = ["user:7", "user:8"];

fn chance(random: &mut StdRng, most: u64) -> Duration {
    Duration::from_micros(random.random_range(0..=most * 1_000))
}

/// The present count of a key, by the backend.
async fn truth(rig: &Rig, key: &str) -> i64 {
    number(rig.others.get(key).await.ok())
}

/// Reads a key, and checks that it is no older than `floor`.
async fn read(rig: &Rig, key: &str, random: &mut StdRng, floor: i64) {
    let value = match random.random_range(0..3) {
        0 => rig.tiered.get(key).await.ok(),
        1 => rig.tiered.get_entry(key).await.map(|entry| entry.value).ok(),
        _ if floor % 2 == 0 => rig.tiered.get_many(&[key]).await.unwrap().remove(0),
        _ => rig.tiered.get_each(&[key]).await.remove(0).ok(),
    };
    let value = number(value);
    assert!(value >= floor, "{value} after {floor}");
}

fn number(value: Option<cache_core::Bytes>) -> i64 {
    value.map_or(0, |value| std::str::from_utf8(&value).unwrap().parse().unwrap())
}

async fn run(seed: u64, breaks: bool, config: NearConfig) {
    let rig = Rig::with(config, Line::new);
    rig.line.takes_by_chance(seed, ms(4));
    let rig = &rig;
    let readers = (0..20_u64).map(|reader| async move {
        let mut random = StdRng::seed_from_u64(seed * 1_000 + reader);
        for _ in 0..15 {
            tokio::time::sleep(chance(&mut random, 6)).await;
            let key = KEYS[random.random_range(0..KEYS.len())];
            let patience = if random.random_bool(0.3) {
                chance(&mut random, 6)
            } else {
                ms(10_000)
            };
            // On one thread a change and its report are one step. Counts only grow.
            let floor = truth(rig, key).await;
            drop(tokio::time::timeout(patience, read(rig, key, &mut random, floor)).await);
        }
    });
    let writers = (0..4_u64).map(|writer| async move {
        let mut random = StdRng::seed_from_u64(seed * 1_000 + 100 + writer);
        for _ in 0..15 {
            tokio::time::sleep(chance(&mut random, 8)).await;
            let key = KEYS[random.random_range(0..KEYS.len())];
            if writer < 2 {
                rig.others.incr(key).await.unwrap();
            } else {
                let patience = if random.random_bool(0.3) {
                    chance(&mut random, 6)
                } else {
                    ms(10_000)
                };
                if let Ok(written) = tokio::time::timeout(patience, rig.tiered.incr(key)).await {
                    let (written, read) = (written.unwrap(), rig.tiered.get(key).await.unwrap());
                    assert!(number(Some(read)) >= written, "seed {seed}: not its own write");
                }
            }
        }
    });
    let breaker = async {
        let mut random = StdRng::seed_from_u64(seed * 1_000 + 200);
        for _ in 0..if breaks { 5 } else { 0 } {
            tokio::time::sleep(chance(&mut random, 20)).await;
            rig.line.reports().cut();
            tokio::time::sleep(chance(&mut random, 5)).await;
            rig.line.reports().mend();
        }
    };
    tokio::join!(join_all(readers), join_all(writers), breaker);
    for key in KEYS {
        rig.tiered.get(key).await.unwrap();
        let near = number(rig.tiered.get(key).await.ok());
        assert_eq!(near, truth(rig, key).await, "seed {seed}");
    }
    let stats = rig.tiered.stats();
    assert!(stats.hits > 0 && stats.joined > 0, "seed {seed}: {stats:?}");
}

#[tokio::test(start_paused = true)]
async fn whatever_the_order_nobody_reads_what_was_changed_before() {
    for seed in 0..60 {
        run(seed, false, NearConfig::default()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_the_order_and_with_a_line_that_breaks() {
    for seed in 200..320 {
        run(seed, true, NearConfig::default()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_many_threads_nobody_reads_what_was_changed_before() {
    let rig = Arc::new(Rig::new());
    // What was written by those who have their answer: by then the change has been reported.
    let answered: Arc<[AtomicI64; 2]> = Arc::default();
    let tasks = (0..8_u64).map(|task| {
        let (rig, answered) = (Arc::clone(&rig), Arc::clone(&answered));
        tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(task);
            for step in 0..4_000 {
                let at = random.random_range(0..KEYS.len());
                let (key, answered) = (KEYS[at], &answered[at]);
                match random.random_range(0..20) {
                    0 => {
                        let written = rig.others.incr(key).await.unwrap();
                        answered.fetch_max(written, Ordering::SeqCst);
                    }
                    1 => {
                        let written = rig.tiered.incr(key).await.unwrap();
                        answered.fetch_max(written, Ordering::SeqCst);
                    }
                    2 if step % 50 == 0 && task == 0 => {
                        rig.line.reports().cut();
                        rig.line.reports().mend();
                    }
                    _ => {
                        let floor = answered.load(Ordering::SeqCst);
                        read(&rig, key, &mut random, floor).await;
                    }
                }
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();
    for task in tasks {
        task.await.unwrap();
    }
    for key in KEYS {
        assert_eq!(number(rig.tiered.get(key).await.ok()), truth(&rig, key).await);
    }
}
