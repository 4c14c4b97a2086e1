//! Removing, counting and listing by pattern over a table.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cache_admin::paging::PageRequest;
use cache_admin::{
    Checkpoint, Checkpoints, Control, DynamoKeys, Engine, Event, Method, Observer, Options, Outcome, Pace,
    Selection,
};
use cache_core::{CacheClient as _, Pattern, Ttl};

use crate::{Emulator, fill};

fn pattern(text: &str) -> Pattern {
    Pattern::new(text).unwrap()
}

async fn engine(emulator: &Emulator) -> Engine {
    Engine::new(DynamoKeys::new(Arc::new(emulator.client().await)))
}

fn full() -> Options {
    Options::default().with_pace(Pace::Full)
}

/// The most memory that this process has had, in KiB. The emulator's is in it.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_of_forty_thousand_items_are_removed_and_no_others_in_bounded_memory() {
    let emulator = Emulator::start().await;
    let client = emulator.client().await;
    fill(&client, "doomed:", 20_000).await;
    fill(&client, "spared:", 20_000).await;
    let engine = engine(&emulator).await;
    // Once without removing anything, so that connections and buffers are there.
    let counted = engine.count(pattern("*:*"), 0, &full()).await;
    assert_eq!(counted.report.total().matched, 40_000);
    let before = resident();
    let report = engine.invalidate(pattern("doomed:*"), &full()).await;
    let grown = resident().saturating_sub(before);
    assert!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    assert_eq!(report.total().removed, 20_000);
    assert!(grown <= 32 * 1024, "{grown} KiB more");
    let left = engine.count(pattern("doomed:*"), 0, &full()).await;
    assert_eq!(left.report.total().matched, 0);
    let left = engine.count(pattern("spared:*"), 0, &full()).await;
    assert_eq!(left.report.total().matched, 20_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pattern_matches_as_everywhere_and_entries_that_ended_are_not_listed() {
    let emulator = Emulator::start().await;
    let client = emulator.client().await;
    let keys = ["app:a:1", "app:b:1", "app:a:2", "app:[a]:1", "other", "naïve:1"];
    for key in keys {
        client.set(key, "x".into(), Ttl::Forever).await.unwrap();
    }
    client
        .set("app:a:ended", "x".into(), Ttl::millis(1))
        .await
        .unwrap();
    while client.exists(&["app:a:ended"]).await.unwrap() > 0 {}
    let engine = engine(&emulator).await;
    for (text, expected) in [
        ("app:a:*", vec!["app:a:1", "app:a:2"]),
        ("app:[ab]:1", vec!["app:a:1", "app:b:1"]),
        ("app:\\[a\\]:*", vec!["app:[a]:1"]),
        ("*:1", vec!["app:a:1", "app:b:1", "app:[a]:1", "naïve:1"]),
        ("na?ve*", vec![]),
        ("nothing*", vec![]),
    ] {
        let mut listing = engine.list(pattern(text), None, &full());
        let mut listed = BTreeSet::new();
        while let Some(key) = listing.next().await {
            listed.insert(String::from_utf8(key.to_vec()).unwrap());
        }
        let expected: BTreeSet<String> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(listed, expected, "{text}");
    }
    let estimate = engine.estimate(pattern("app:*"), 10, &full()).await.unwrap();
    assert_eq!((estimate.matched, estimate.method), (4, Method::Counted));
    let lives = Selection::new(pattern("*")).with_life(cache_admin::Life::Forever);
    let report = engine.invalidate(lives, &full()).await;
    assert_eq!(report.total().removed, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_over_a_table_show_every_key() {
    let emulator = Emulator::start().await;
    fill(&emulator.client().await, "page:", 3_000).await;
    let engine = engine(&emulator).await;
    let mut listed = BTreeSet::new();
    let mut position = None;
    let mut pages = 0;
    loop {
        let mut request = PageRequest::new(pattern("page:*")).with_limit(100);
        if let Some(position) = position {
            request = request.at(position);
        }
        let page = engine.page(&request).await.unwrap();
        listed.extend(page.keys.into_iter().map(|listed| listed.key));
        pages += 1;
        assert!(pages < 200, "it ends");
        position = page.next;
        if position.is_none() {
            break;
        }
    }
    assert_eq!(listed.len(), 3_000);
    assert!(pages > 5, "{pages}");
}

/// Two processes behind one address, each of which knows only its own walks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_two_processes_take_in_turns_show_every_key_or_are_refused() {
    let emulator = Emulator::start().await;
    fill(&emulator.client().await, "page:", 3_000).await;
    let processes = [engine(&emulator).await, engine(&emulator).await];
    let mut listed: BTreeSet<Bytes> = BTreeSet::new();
    let mut position = None;
    for turn in 0..200 {
        let mut request = PageRequest::new(pattern("page:*")).with_limit(100);
        if let Some(position) = position {
            request = request.at(position);
        }
        let page = processes[turn % 2].page(&request).await.unwrap();
        listed.extend(page.keys.into_iter().map(|listed| listed.key));
        position = page.next;
        if position.is_none() {
            break;
        }
    }
    assert!(position.is_none(), "it ends");
    assert_eq!(listed.len(), 3_000);
}

/// Keeps the last checkpoint, as a file would.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<std::sync::Mutex<Option<Checkpoint>>>);

#[async_trait::async_trait]
impl Checkpoints for Kept {
    async fn save(&self, checkpoint: &Checkpoint) -> Result<(), cache_core::CacheError> {
        *self.0.lock().unwrap() = Some(checkpoint.clone());
        Ok(())
    }
}

/// Stops a run once it has removed so many keys.
struct StopAfter(u64, Control, Arc<AtomicU64>);

impl Observer for StopAfter {
    fn observe(&self, event: &Event) {
        if let Event::Page { counts, .. } = event {
            self.2.store(counts.removed, Ordering::Relaxed);
            if counts.removed >= self.0 {
                self.1.cancel();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_died_is_taken_up_by_another_process_and_completed() {
    let emulator = Emulator::start().await;
    let client = emulator.client().await;
    fill(&client, "doomed:", 3_000).await;
    fill(&client, "spared:", 100).await;
    let (kept, control, removed) = (Kept::default(), Control::new(), Arc::<AtomicU64>::default());
    let options = Options::default()
        .with_page_size(100)
        .with_control(control.clone())
        .with_observer(StopAfter(500, control, Arc::clone(&removed)))
        .with_checkpoints(kept.clone())
        .with_save_every(Duration::ZERO, 100);
    let report = engine(&emulator)
        .await
        .invalidate(pattern("doomed:*"), &options)
        .await;
    assert!(matches!(report.outcome, Outcome::Cancelled), "{report:?}");
    assert!((500..3_000).contains(&removed.load(Ordering::Relaxed)));
    let checkpoint = kept.0.lock().unwrap().clone().unwrap();
    let report = engine(&emulator).await.resume(&checkpoint, &full()).await;
    assert!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    let left = engine(&emulator).await.count(pattern("*"), 0, &full()).await;
    assert_eq!(left.report.total().matched, 100);
}
