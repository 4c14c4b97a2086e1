//! Threads that read, write and flush at once. In every interleaving, no writer finds anything older than what it
//! wrote.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use cache_core::{CacheError, Invalidation};
use futures::FutureExt as _;
use futures::channel::oneshot;

use super::super::{Boarding, Mark, Near};
use super::{found, lasting, near};

const WRITES: u64 = 500_000;

/// One key, its true value, and its name.
struct Far {
    truth: AtomicU64,
    key: String,
}

fn read(near: &Arc<Near<u64>>, far: &Far) {
    if near.look(&far.key).is_some() {
        return;
    }
    let value = || far.truth.load(Ordering::SeqCst);
    // The value is read when the future is polled, not before.
    let (reply, replied) = oneshot::channel();
    let read = |mark: Mark<u64>| {
        async move {
            let value = replied.await.map_err(|_| CacheError::Closed)?;
            mark.land(Some(lasting(value, 8)));
            Ok(found(value))
        }
        .boxed()
    };
    match near.board(&far.key, near.period(), read) {
        Boarding::Led(read) => {
            let _received = reply.send(value());
            drop(read.now_or_never());
        }
        Boarding::Joined(_) => {
            // As a caller does that has its own single-flight.
            let mark = near.begin(&far.key, near.period());
            let value = value();
            if let Some(mark) = mark {
                mark.complete(lasting(value, 8));
            }
        }
        Boarding::Hit(_) | Boarding::Late => {}
    }
}

#[test]
fn a_million_foreign_writes_against_cold_reads_leave_nothing_stale() {
    // Room for only a few of the keys, so that eviction takes part too.
    let near = near::<u64>(1 << 20, 4);
    let fars: Arc<[Far]> = (0..8)
        .map(|number| Far {
            truth: AtomicU64::new(0),
            key: format!("user:{number}"),
        })
        .collect();
    let stop = AtomicBool::new(false);
    let checked = AtomicU64::new(0);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..2_usize)
            .map(|writer| {
                let (near, fars, checked) = (&near, &fars, &checked);
                scope.spawn(move || {
                    for number in 1..=WRITES {
                        // Each key has one writer, so the last value it wrote is the true one.
                        let far = &fars[writer * 4 + usize::try_from(number % 4).unwrap()];
                        far.truth.store(number, Ordering::SeqCst);
                        if number % 10_000 == 0 {
                            near.reset();
                        } else {
                            near.apply(&Invalidation::Keys(vec![far.key.clone()]));
                        }
                        if let Some(found) = near.look(&far.key) {
                            assert_eq!(found.value, number, "stale after its report");
                            checked.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        for reader in 0..2_usize {
            let (near, fars, stop) = (&near, &fars, &stop);
            scope.spawn(move || {
                for number in reader.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    read(near, &fars[number % fars.len()]);
                }
            });
        }
        let ended: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok), "a writer found something stale");
    });
    for far in fars.iter() {
        let near = near.look(&far.key).map(|found| found.value);
        assert!(near.is_none_or(|near| near == far.truth.load(Ordering::SeqCst)));
    }
    assert_eq!(near.marks(), 0);
    assert!(near.entries() <= 4);
}
