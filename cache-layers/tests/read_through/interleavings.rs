//! Many callers, writers, cancellations and faults in an order that chance decides, seed by seed: whatever
//! the order, nothing is loaded twice, nothing stale stays, nothing is left behind.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache_core::CacheClient;
use cache_layers::read_through::{Abandoned, Coordination};
use cache_layers::{Loaded, ReadThrough};
use cache_mock::RandomFaults;
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::rig::{KEY, LEASE, LEASE_KEY, Rig, ms, secs};

/// What is true, and how often it was loaded.
#[derive(Clone, Debug, Default)]
struct Truth(Arc<(AtomicU64, AtomicU64)>);

impl Truth {
    fn now(&self) -> u64 {
        self.0.0.load(Ordering::SeqCst)
    }

    fn change(&self) -> u64 {
        self.0.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn loads(&self) -> u64 {
        self.0.1.load(Ordering::SeqCst)
    }

    /// Reads the truth, some time before it answers.
    async fn load(self, before: Duration, after: Duration) -> Result<Loaded, io::Error> {
        self.0.1.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(before).await;
        let now = self.now();
        tokio::time::sleep(after).await;
        Ok(Loaded::new(now.to_string()))
    }

    /// What a reader gets, which has to be a number.
    async fn read(&self, process: &ReadThrough, before: Duration, after: Duration) -> u64 {
        let truth = self.clone();
        let answer = process
            .get_or_load(KEY, move || truth.load(before, after))
            .await
            .unwrap();
        std::str::from_utf8(&answer.value.unwrap())
            .unwrap()
            .parse()
            .unwrap()
    }
}

fn chance(random: &mut StdRng, most: u64) -> Duration {
    Duration::from_micros(random.random_range(0..=most * 1_000))
}

/// Readers of three processes, some of whom leave early, and writers, under slow and lost replies.
async fn run(seed: u64, coordination: Coordination, abandoned: Abandoned) {
    let mut random = StdRng::seed_from_u64(seed);
    let (rig, truth) = (Rig::new(), Truth::default());
    let processes: Vec<_> = (0..3_u64)
        .map(|number| {
            let config = |config: cache_layers::read_through::ReadThroughConfigBuilder| {
                config.coordination(coordination).abandoned(abandoned)
            };
            let (process, faults) = rig.faulty_with(config);
            let lost = if seed.is_multiple_of(2) { 0.0 } else { 0.05 };
            let slow = RandomFaults::new(seed * 3 + number)
                .delays(0.8, ms(0)..=ms(8))
                .lost_requests(lost)
                .lost_replies(lost)
                .timing_out_after(ms(40));
            faults.at_random(slow);
            (process, faults)
        })
        .collect();
    let readers = (0..30_usize).map(|number| {
        let (start, patience) = (chance(&mut random, 150), chance(&mut random, 200));
        let (before, after) = (chance(&mut random, 30), chance(&mut random, 30));
        let leaves = random.random_bool(0.3);
        let (process, truth) = (&processes[number % 3].0, truth.clone());
        async move {
            tokio::time::sleep(start).await;
            let read = truth.read(process, before, after);
            if leaves {
                drop(tokio::time::timeout(patience, read).await);
            } else {
                read.await;
            }
        }
    });
    let readers: Vec<_> = readers.collect();
    let writers = (0..4_usize).map(|number| {
        let (start, bare) = (chance(&mut random, 150), random.random_bool(0.5));
        let (before, after) = (chance(&mut random, 10), chance(&mut random, 10));
        let (process, truth, memory) = (&processes[number % 3].0, truth.clone(), rig.memory.clone());
        async move {
            tokio::time::sleep(start).await;
            let version = truth.change();
            if bare {
                memory.del(&[KEY]).await.unwrap();
            } else {
                while process.invalidate(&[KEY]).await.is_err() {}
                // Who has invalidated sees nothing older, whatever was under way.
                let read = truth.read(process, before, after).await;
                assert!(read >= version, "seed {seed}: {read} after {version}");
            }
        }
    });
    let writers: Vec<_> = writers.collect();
    tokio::join!(join_all(readers), join_all(writers));
    for (process, faults) in &processes {
        process.settled().await;
        faults.heal();
    }
    // Every process reads the truth, from the cache if need be.
    for (process, _) in &processes {
        let read = truth.read(process, ms(0), ms(0)).await;
        assert_eq!(read, truth.now(), "seed {seed}");
        process.settled().await;
    }
    let loads = truth.loads();
    for (process, _) in &processes {
        truth.read(process, ms(0), ms(0)).await;
    }
    assert_eq!(truth.loads(), loads, "seed {seed}: it is stored now");
    tokio::time::sleep(LEASE).await;
    assert_eq!(rig.memory.exists(&[LEASE_KEY]).await.unwrap(), 0, "seed {seed}");
}

#[tokio::test(start_paused = true)]
async fn whatever_the_order_nothing_stale_stays_and_nothing_is_left_behind() {
    for seed in 0..300 {
        run(seed, Coordination::Fleet { lease: LEASE }, Abandoned::Finish).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_the_order_and_without_a_fleet_too() {
    for seed in 300..500 {
        run(seed, Coordination::Process, Abandoned::Cancel).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_the_order_and_with_loads_that_are_given_up() {
    for seed in 500..700 {
        run(seed, Coordination::Fleet { lease: LEASE }, Abandoned::Cancel).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_the_order_the_fleet_loads_once() {
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let (rig, truth) = (Rig::new(), Truth::default());
        let processes: Vec<_> = (0..4_u64)
            .map(|number| {
                let (process, faults) = rig.faulty_with(|config| config.cache_deadline(secs(5)));
                faults.at_random(RandomFaults::new(seed * 4 + number).delays(0.9, ms(0)..=ms(20)));
                process
            })
            .collect();
        let readers = (0..40_usize).map(|number| {
            let (start, load) = (chance(&mut random, 100), chance(&mut random, 60));
            let (process, truth) = (&processes[number % 4], truth.clone());
            async move {
                tokio::time::sleep(start).await;
                truth.read(process, load, ms(0)).await
            }
        });
        let readers: Vec<_> = readers.collect();
        join_all(readers).await;
        assert_eq!(truth.loads(), 1, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn on_many_threads_each_key_is_loaded_once_and_leaving_callers_block_nobody() {
    for abandoned in [Abandoned::Finish, Abandoned::Cancel] {
        let (rig, truth) = (Rig::new(), Truth::default());
        let processes = [(); 2].map(|()| rig.process_with(|config| config.abandoned(abandoned)));
        for number in 0..500_u32 {
            let key: Arc<str> = format!("user:{number}").into();
            let loads = truth.loads();
            let calls = (0..16_usize).map(|caller| {
                let (process, truth, key) = (processes[caller % 2].clone(), truth.clone(), Arc::clone(&key));
                tokio::spawn(async move {
                    let load = || async move {
                        truth.0.1.fetch_add(1, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        Ok::<_, io::Error>(Loaded::new("value"))
                    };
                    process.get_or_load(&key, load).await.unwrap().value
                })
            });
            let calls: Vec<_> = calls.collect();
            // With one caller of each process left, nothing is given up.
            calls[2..5].iter().for_each(tokio::task::JoinHandle::abort);
            for (caller, call) in calls.into_iter().enumerate() {
                match call.await {
                    Ok(value) => assert_eq!(value.unwrap(), "value"),
                    Err(error) => assert!(error.is_cancelled() && (2..5).contains(&caller), "{error}"),
                }
            }
            if abandoned == Abandoned::Finish {
                assert_eq!(truth.loads(), loads + 1, "key {number}");
            }
        }
        for process in &processes {
            process.settled().await;
        }
    }
}
