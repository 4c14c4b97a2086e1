//! Runs that are stopped.

use cache_admin::{Control, Engine, Event, Options, Outcome};
use cache_core::Pattern;

use crate::simulated::{Change, Simulated};

fn cluster() -> Simulated {
    Simulated::cluster(3).with_keys((0..3_000).map(|number| format!("k:{number}")))
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_reports_exactly_what_it_removed() {
    let cluster = cluster();
    let cancel = Control::new();
    let switch = cancel.clone();
    let options = Options::default()
        .with_page_size(10)
        .with_control(cancel)
        .with_observer(move |event: &Event| {
            if matches!(event, Event::Page { counts, .. } if counts.removed > 200) {
                switch.cancel();
            }
        });
    let report = Engine::new(cluster.clone())
        .invalidate(&Pattern::all(), &options)
        .await;
    assert!(matches!(report.outcome, Outcome::Cancelled), "{report:?}");
    let removed = 3_000 - cluster.sizes().iter().sum::<usize>();
    assert!((200..3_000).contains(&removed));
    assert_eq!(report.total().removed, u64::try_from(removed).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_for_a_primary_can_be_cancelled() {
    let cluster = cluster();
    cluster.now(Change::Stop(0));
    let cancel = Control::new();
    let switch = cancel.clone();
    let options = Options::default()
        .with_control(cancel)
        .with_observer(move |event: &Event| {
            if matches!(event, Event::Waiting { .. }) {
                switch.cancel();
            }
        });
    let report = Engine::new(cluster).invalidate(&Pattern::all(), &options).await;
    assert!(matches!(report.outcome, Outcome::Cancelled), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_cancelled_before_does_nothing() {
    let cluster = cluster();
    let cancel = Control::new();
    cancel.cancel();
    let report = Engine::new(cluster.clone())
        .invalidate(&Pattern::all(), &Options::default().with_control(cancel))
        .await;
    assert!(matches!(report.outcome, Outcome::Cancelled), "{report:?}");
    assert_eq!(cluster.reachable().len(), 3_000);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_stops_the_servers_work() {
    let cluster = cluster();
    let engine = Engine::new(cluster.clone());
    let (pattern, options) = (Pattern::all(), Options::default().with_page_size(10));
    {
        let mut run = Box::pin(engine.invalidate(&pattern, &options));
        while cluster.world().calls < 30 {
            tokio::select! {
                biased;
                _ = &mut run => panic!("it was not to end"),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    // What was polled at the moment of the drop may finish its one call.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let calls = cluster.world().calls;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(cluster.world().calls, calls);
    assert!(cluster.reachable().len() > 1_000);
}
