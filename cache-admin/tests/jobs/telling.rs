//! Events: numbered, kept, and gone on with.

use cache_admin::jobs::{Happened, JobState, JobsConfig};

use super::{ended, jo, jobs, removal, until};

#[tokio::test]
async fn a_listener_goes_on_where_another_left_off_and_misses_nothing() {
    let (jobs, keys) = jobs(JobsConfig::default()).await;
    let id = jobs.start(removal("k:*")).await.unwrap().id;
    let mut first = jobs.events(id, 0).unwrap();
    keys.let_through(10);
    let mut heard = vec![first.next().await.unwrap(), first.next().await.unwrap()];
    drop(first);
    let after = heard[1].sequence;
    until(&jobs, id, |job| job.progress.removed > 0).await;
    jobs.pause(id, &jo()).await.unwrap();
    jobs.resume(id, &jo()).await.unwrap();
    let mut second = jobs.events(id, after).unwrap();
    keys.open();
    while let Some(event) = second.next().await {
        heard.push(event);
    }
    let numbers: Vec<u64> = heard.iter().map(|event| event.sequence).collect();
    let all: Vec<u64> = (1..=u64::try_from(heard.len()).unwrap()).collect();
    assert_eq!(numbers, all);
    let names: Vec<&str> = heard.iter().map(|event| event.what.name()).collect();
    assert_eq!(
        (names[0], names[1], *names.last().unwrap()),
        ("queued", "started", "ended"),
        "{names:?}"
    );
    for name in ["pass", "progress", "paused", "resumed", "swept"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    let last = &heard.last().unwrap().what;
    let complete = matches!(
        last,
        Happened::Ended {
            state: JobState::Complete,
            removed: 1_000,
            ..
        }
    );
    assert!(complete, "{last:?}");
    // Who comes late gets the same.
    let mut late = jobs.events(id, after).unwrap();
    assert_eq!(late.next().await.unwrap().sequence, after + 1);
    let mut over = jobs.events(id, *numbers.last().unwrap()).unwrap();
    assert!(over.next().await.is_none());
}

#[tokio::test]
async fn no_more_events_are_kept_than_allowed_and_the_last_is_among_them() {
    let (jobs, keys) = jobs(JobsConfig::default().with_events(3)).await;
    keys.open();
    let id = jobs.start(removal("k:*")).await.unwrap().id;
    ended(&jobs, id).await;
    let mut events = jobs.events(id, 0).unwrap();
    let mut heard = Vec::new();
    while let Some(event) = events.next().await {
        heard.push(event);
    }
    assert_eq!(heard.len(), 3);
    assert!(heard[0].sequence > 1);
    assert_eq!(heard[2].what.name(), "ended");
}
