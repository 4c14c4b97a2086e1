//! Runs whose process dies: what another one makes of what was saved.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cache_admin::{Checkpoint, Checkpoints, Engine, Event, Options, Outcome, Pace, Report};
use cache_core::{CacheError, Pattern, slot::slot_of};

use crate::simulated::{Change, Simulated};

/// Keeps the last checkpoint, as text.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Option<String>>>);

impl Shelf {
    fn last(&self) -> Option<Checkpoint> {
        let text = self.text().clone()?;
        Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}")))
    }

    fn text(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Checkpoints for Shelf {
    async fn save(&self, checkpoint: &Checkpoint) -> Result<(), CacheError> {
        tokio::task::yield_now().await;
        *self.text() = serde_json::to_string(checkpoint).ok();
        Ok(())
    }
}

fn options(shelf: &Shelf, pace: Pace) -> Options {
    Options::default()
        .with_page_size(10)
        .with_pace(pace)
        .with_checkpoints(shelf.clone())
        .with_save_every(Duration::from_secs(1), 50)
}

fn cluster(by_slot: bool) -> Simulated {
    let cluster = Simulated::cluster(3);
    let cluster = if by_slot { cluster.by_slot() } else { cluster };
    cluster
        .with_keys((0..400).map(|number| format!("k:{number}")))
        .with_keys((0..40).map(|number| format!("k:{{moving}}:{number}")))
        .with_keys((0..100).map(|number| format!("other:{number}")))
}

/// Runs until the servers have answered `calls` more calls, or until it rests, and dies.
async fn die_after(cluster: &Simulated, calls: u64, run: impl Future<Output = Report>) -> Option<Report> {
    let until = cluster.world().calls + calls;
    let mut run = Box::pin(run);
    let (mut last, mut idle) = (0, 0);
    // While it rests nothing is called, and time stands still as long as somebody is awake: here.
    while last < until && idle < 1_000 {
        tokio::select! {
            biased;
            report = &mut run => return Some(report),
            () = tokio::task::yield_now() => {}
        }
        let calls = cluster.world().calls;
        idle = if calls == last { idle + 1 } else { 0 };
        last = calls;
    }
    None
}

/// What was removed is in the report, but for what could not be saved.
fn adds_up(report: &Report, cluster: &Simulated, at: u64) {
    assert!(matches!(report.outcome, Outcome::Complete), "at {at}: {report:?}");
    assert_eq!(cluster.reachable().len(), 100, "at {at}");
    let removed = report.total().removed;
    assert!(
        removed <= 440 && removed + report.uncounted >= 440,
        "at {at}: {removed} and up to {}",
        report.uncounted
    );
    let before: Option<u64> = report.primaries.iter().map(|primary| primary.keys_before).sum();
    assert_eq!(before, Some(540), "at {at}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_dies_at_any_moment_is_taken_up_and_adds_up() {
    let pattern = Pattern::new("k:*").unwrap();
    for by_slot in [false, true] {
        for pace in [Pace::Full, Pace::Gentle] {
            for at in (1..160).step_by(23) {
                let (cluster, shelf) = (cluster(by_slot), Shelf::default());
                let (engine, options) = (Engine::new(cluster.clone()), options(&shelf, pace));
                let ended = die_after(&cluster, at, engine.invalidate(&pattern, &options)).await;
                let report = match (ended, shelf.last()) {
                    (Some(report), _) => report,
                    (None, Some(checkpoint)) => engine.resume(&checkpoint, &options).await,
                    (None, None) => engine.invalidate(&pattern, &options).await,
                };
                adds_up(&report, &cluster, at);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_lies_behind_a_page_that_was_not_done_is_not_saved_as_visited() {
    let pattern = Pattern::new("k:*").unwrap();
    for number in (0..400).step_by(29) {
        let (cluster, shelf) = (cluster(true), Shelf::default());
        let key = format!("k:{number}");
        cluster.world().swallows = Some(key.clone().into());
        let engine = Engine::new(cluster.clone());
        let options = options(&shelf, Pace::Full).with_save_every(Duration::from_secs(1), 1);
        let ended = die_after(&cluster, 1_000, engine.invalidate(&pattern, &options)).await;
        assert!(ended.is_none(), "the removal of {key} was answered");
        let text = shelf.text().clone().unwrap();
        let saved: serde_json::Value = serde_json::from_str(&text).unwrap();
        let slot = u64::from(slot_of(key.as_bytes()));
        for primary in saved["primaries"].as_array().unwrap() {
            for range in primary["visited"].as_array().unwrap() {
                let (first, last) = (range[0].as_u64().unwrap(), range[1].as_u64().unwrap());
                assert!(!(first..=last).contains(&slot), "{key}, slot {slot}: {text}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_dies_twice_while_slots_move_is_complete() {
    let pattern = Pattern::new("k:*").unwrap();
    let slot = slot_of(b"moving");
    for by_slot in [false, true] {
        for at in (2..120).step_by(13) {
            let (mut cluster, shelf) = (cluster(by_slot), Shelf::default());
            let to = (cluster.world().owner_of(slot).unwrap() + 1) % 3;
            cluster = cluster.at(at / 2, Change::Begin { slot, to });
            for hop in 0..10 {
                cluster = cluster.at(at / 2 + hop, Change::Hop { slot, nth: 7 });
            }
            cluster = cluster
                .at(at + 10, Change::End { slot })
                .at(at + 20, Change::FailOver(2));
            let (engine, options) = (Engine::new(cluster.clone()), options(&shelf, Pace::Full));
            let mut ended = die_after(&cluster, at, engine.invalidate(&pattern, &options)).await;
            if ended.is_none()
                && let Some(checkpoint) = shelf.last()
            {
                ended = die_after(&cluster, 15, engine.resume(&checkpoint, &options)).await;
            }
            let report = match (ended, shelf.last()) {
                (Some(report), _) => report,
                (None, Some(checkpoint)) => engine.resume(&checkpoint, &options).await,
                (None, None) => engine.invalidate(&pattern, &options).await,
            };
            assert!(matches!(report.outcome, Outcome::Complete), "at {at}: {report:?}");
            assert_eq!(cluster.reachable().len(), 100, "at {at}");
            let removed = report.total().removed;
            assert!(
                removed <= 440 && removed + report.uncounted >= 440,
                "at {at}: {report:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_walked_over_slot_by_slot_is_only_verified() {
    let (cluster, shelf) = (cluster(true), Shelf::default());
    let (engine, pattern) = (Engine::new(cluster.clone()), Pattern::new("k:*").unwrap());
    let options = options(&shelf, Pace::Full).with_save_every(Duration::from_secs(1), 1);
    assert!(
        die_after(&cluster, 60, engine.invalidate(&pattern, &options))
            .await
            .is_none()
    );
    let covered = Arc::new(Mutex::new(None));
    let first = covered.clone();
    let options = Options::default().with_observer(move |event: &Event| {
        if let Event::Progress(progress) = event {
            first.lock().unwrap().get_or_insert(progress.slots_covered);
        }
    });
    let report = engine.resume(&shelf.last().unwrap(), &options).await;
    adds_up(&report, &cluster, 60);
    let covered = covered.lock().unwrap().unwrap();
    assert!(
        (1_000..16_000).contains(&covered),
        "{covered} slots were taken over"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_is_taken_up_without_anything_uncounted() {
    let (cluster, shelf) = (cluster(true), Shelf::default());
    let (engine, pattern) = (Engine::new(cluster.clone()), Pattern::new("k:*").unwrap());
    let control = cache_admin::Control::new();
    let handle = control.clone();
    let stopping = options(&shelf, Pace::Full)
        .with_control(control)
        .with_observer(move |event: &Event| {
            if matches!(event, Event::Page { counts, .. } if counts.removed > 60) {
                handle.cancel();
            }
        });
    let report = engine.invalidate(&pattern, &stopping).await;
    assert!(matches!(report.outcome, Outcome::Cancelled), "{report:?}");
    let report = engine.resume(&shelf.last().unwrap(), &Options::default()).await;
    assert_eq!((report.total().removed, report.uncounted), (440, 0));
    adds_up(&report, &cluster, 0);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_keys_holds_over_all_processes() {
    let pattern = Pattern::new("k:*").unwrap();
    for at in (5..60).step_by(5) {
        let (cluster, shelf) = (cluster(true), Shelf::default());
        let (engine, options) = (Engine::new(cluster.clone()), options(&shelf, Pace::Full));
        let limited = options.clone().with_max_keys(200);
        let ended = die_after(&cluster, at, engine.invalidate(&pattern, &limited)).await;
        if ended.is_none()
            && let Some(checkpoint) = shelf.last()
        {
            let report = engine.resume(&checkpoint, &options).await;
            assert!(
                matches!(report.outcome, Outcome::Partial { .. }),
                "at {at}: {report:?}"
            );
        }
        let removed = 540 - cluster.reachable().len();
        assert!(removed <= 200, "at {at}: {removed}");
    }
}

struct Broken;

#[async_trait]
impl Checkpoints for Broken {
    async fn save(&self, _: &Checkpoint) -> Result<(), CacheError> {
        Err(CacheError::Unsupported {
            detail: "the disk is full".into(),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_saved_is_not_done() {
    let cluster = cluster(true);
    let options = Options::default().with_checkpoints(Broken);
    let report = Engine::new(cluster.clone())
        .invalidate(&Pattern::all(), &options)
        .await;
    assert!(matches!(report.outcome, Outcome::Failed { .. }), "{report:?}");
    assert_eq!(cluster.reachable().len(), 540);
}
