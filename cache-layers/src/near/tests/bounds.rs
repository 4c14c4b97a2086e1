//! How much is kept, and for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cache_core::{Ttl, clock};
use tokio::time::advance;

use super::super::{Found, Keep, Near};
use super::{KEY, lasting, near};

fn put<V: Clone + Send + Sync + 'static>(near: &Arc<Near<V>>, key: &str, value: V, bytes: usize) -> bool {
    near.begin(key, near.period())
        .unwrap()
        .complete(lasting(value, bytes))
}

#[test]
fn the_bounds_are_never_exceeded_whatever_the_sizes() {
    for (max_bytes, max_entries) in [
        (1 << 12, 1 << 30),
        (1 << 20, 50),
        (8 << 20, 5_000),
        (8 << 20, 1 << 30),
    ] {
        let near = near(max_bytes, max_entries);
        for number in 0..8_000_usize {
            let bytes = [0, 10, 100, 1_000, 5_000][number % 5];
            put(&near, &format!("user:{number}"), number, bytes);
            assert!(near.bytes() <= max_bytes && near.entries() <= max_entries);
        }
        assert!(near.entries() > 0);
    }
}

#[test]
fn small_entries_fill_nine_tenths_of_either_bound() {
    let by_bytes = near(4 << 20, 1 << 30);
    let by_entries = near(1 << 30, 5_000);
    for number in 0..50_000_usize {
        put(&by_bytes, &format!("user:{number}"), number, 100);
        put(&by_entries, &format!("user:{number}"), number, 100);
    }
    assert!(by_bytes.bytes() > (4 << 20) * 9 / 10, "{}", by_bytes.bytes());
    assert!(by_entries.entries() > 4_500, "{}", by_entries.entries());
}

#[test]
fn what_does_not_fit_is_not_kept_and_drives_nothing_out() {
    let near = near(1 << 20, 1_000);
    assert!(put(&near, "small", 1, 100));
    assert!(!near.takes(KEY, 1 << 20));
    assert!(!put(&near, KEY, 2, 1 << 20));
    assert!(near.look("small").is_some() && near.look(KEY).is_none());
    assert!(near.takes(KEY, 900 << 10));
    assert!(put(&near, KEY, 2, 900 << 10));
}

#[tokio::test(start_paused = true)]
async fn a_life_counts_from_the_mark_and_the_far_life_from_the_reply() {
    let near = near::<u64>(1 << 16, 100);
    let mark = near.begin(KEY, near.period()).unwrap();
    advance(Duration::from_secs(3)).await;
    assert!(mark.complete(keep(Ttl::secs(10), Duration::from_secs(8))));
    advance(Duration::from_secs(4)).await;
    assert_eq!(near.look(KEY).unwrap().remaining, Ttl::secs(6));
    advance(Duration::from_micros(999_999)).await;
    assert!(near.look(KEY).is_some());
    advance(Duration::from_micros(1)).await;
    assert!(near.look(KEY).is_none());
    assert_eq!(
        (near.entries(), near.bytes()),
        (0, 0),
        "who meets it expired takes it out"
    );
    let mark = near.begin(KEY, near.period()).unwrap();
    advance(Duration::from_secs(2)).await;
    assert!(
        !mark.complete(keep(Ttl::secs(2), Duration::from_secs(8))),
        "over by now"
    );
    for forever in [Ttl::Forever, Ttl::After(Duration::ZERO), Ttl::After(Ttl::MAX)] {
        assert!(
            near.begin(KEY, near.period())
                .unwrap()
                .complete(keep(forever, Duration::from_secs(8)))
        );
        assert_eq!(near.look(KEY).unwrap().remaining, forever);
    }
    assert!(clock::now().elapsed() == Duration::ZERO, "time is held");
}

fn keep(remaining: Ttl, life: Duration) -> Keep<u64> {
    Keep {
        found: Found {
            value: 1,
            remaining,
            tracked: true,
            vouch: None,
        },
        bytes: 8,
        life,
    }
}

/// Counts how many of it are alive.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(alive: &Arc<AtomicUsize>) -> Arc<Self> {
        alive.fetch_add(1, Ordering::SeqCst);
        Arc::new(Self(Arc::clone(alive)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn the_memory_of_what_is_gone_comes_back() {
    let alive = Arc::new(AtomicUsize::new(0));
    let near = near(64 << 20, 1 << 20);
    for number in 0..5_000 {
        put(&near, &format!("user:{number}"), Counted::new(&alive), 100);
    }
    assert_eq!(alive.load(Ordering::SeqCst), 5_000);
    near.remove("user:7");
    assert_eq!(alive.load(Ordering::SeqCst), 4_999);
    near.reset();
    assert_eq!(
        (near.entries(), near.bytes()),
        (0, 0),
        "at once, for those who ask"
    );
    let mut waited = 0;
    while alive.load(Ordering::SeqCst) > 0 {
        waited += 1;
        assert!(waited < 1_000_000, "{} are left", alive.load(Ordering::SeqCst));
        tokio::task::yield_now().await;
    }
    // A few are dropped at once, also without a runtime.
    put(&near, KEY, Counted::new(&alive), 100);
    near.reset();
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn a_value_may_use_the_store_when_it_is_dropped() {
    struct Nosy(Arc<Near<Arc<Nosy>>>);
    impl Drop for Nosy {
        fn drop(&mut self) {
            self.0.remove(KEY);
            assert!(self.0.look(KEY).is_none());
        }
    }
    let near = near::<Arc<Nosy>>(1 << 14, 4);
    for number in 0..100 {
        put(
            &near,
            &format!("user:{}", number % 20),
            Arc::new(Nosy(Arc::clone(&near))),
            100,
        );
    }
    near.remove("user:19");
    near.reset();
    assert_eq!(near.entries(), 0);
}
