//! Runs that rest for a while.

use std::time::Duration;

use cache_admin::{Control, Engine, Event, Options, Outcome};
use cache_core::Pattern;

use crate::simulated::{Change, Simulated};

/// Pauses a run when it has removed 200 of 3,000 keys.
fn paused() -> (Simulated, Control, Options) {
    let cluster = Simulated::cluster(3).with_keys((0..3_000).map(|number| format!("k:{number}")));
    let control = Control::new();
    let handle = control.clone();
    let once = std::sync::Once::new();
    let options = Options::default()
        .with_page_size(10)
        .with_control(control.clone())
        .with_observer(move |event: &Event| {
            if matches!(event, Event::Page { counts, .. } if counts.removed > 200) {
                once.call_once(|| handle.pause());
            }
        });
    (cluster, control, options)
}

#[tokio::test(start_paused = true)]
async fn a_paused_run_does_nothing_until_it_goes_on() {
    let (cluster, control, options) = paused();
    let engine = Engine::new(cluster.clone());
    let run = tokio::spawn(async move { engine.invalidate(&Pattern::all(), &options).await });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(control.is_paused());
    let calls = cluster.world().calls;
    // Longer than the patience with what cannot be reached: rest is no failure.
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(cluster.world().calls, calls);
    assert!(cluster.reachable().len() > 2_000 && !run.is_finished());
    control.resume();
    let report = run.await.unwrap();
    assert!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    assert_eq!(report.total().removed, 3_000);
}

#[tokio::test(start_paused = true)]
async fn a_paused_run_can_be_cancelled() {
    let (cluster, control, options) = paused();
    let engine = Engine::new(cluster.clone());
    let run = tokio::spawn(async move { engine.invalidate(&Pattern::all(), &options).await });
    tokio::time::sleep(Duration::from_secs(5)).await;
    control.cancel();
    let report = run.await.unwrap();
    assert!(matches!(report.outcome, Outcome::Cancelled), "{report:?}");
    let removed = 3_000 - cluster.reachable().len();
    assert_eq!(report.total().removed, u64::try_from(removed).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_rest_does_not_use_up_the_patience() {
    let cluster = Simulated::cluster(3).with_keys((0..300).map(|number| format!("k:{number}")));
    cluster.now(Change::Stop(1));
    let control = Control::new();
    let (handle, once) = (control.clone(), std::sync::Once::new());
    let options = Options::default()
        .with_control(control.clone())
        .with_observer(move |event: &Event| {
            if matches!(event, Event::Waiting { .. }) {
                once.call_once(|| handle.pause());
            }
        });
    let engine = Engine::new(cluster.clone());
    let run = tokio::spawn(async move { engine.invalidate(&Pattern::all(), &options).await });
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    cluster.now(Change::Start(1));
    control.resume();
    let report = run.await.unwrap();
    assert!(matches!(report.outcome, Outcome::Complete), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn progress_grows_to_all_slots_and_says_how_long_it_takes() {
    let cluster = Simulated::cluster(3)
        .by_slot()
        .with_keys((0..3_000).map(|number| format!("k:{number}")));
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let hear = told.clone();
    let options = Options::default()
        .with_page_size(10)
        .with_rate(1_000)
        .with_observer(move |event: &Event| {
            if let Event::Progress(progress) = event {
                hear.lock().unwrap().push(*progress);
            }
        });
    let _ = Engine::new(cluster).invalidate(&Pattern::all(), &options).await;
    let told = told.lock().unwrap();
    assert!(
        told.windows(2)
            .all(|two| two[0].slots_covered <= two[1].slots_covered)
    );
    assert!(told.iter().all(|progress| progress.slots == 16_384));
    assert_eq!(told.last().unwrap().slots_covered, 16_384);
    let middle = &told[told.len() / 2];
    assert!((4_000..12_000).contains(&middle.slots_covered), "{middle:?}");
    // 3,000 keys at 1,000 in a second; none is left to verify.
    let remaining = middle.remaining.unwrap().as_millis();
    assert!((800..2_400).contains(&remaining), "{middle:?}");
}
