//! What may be started, and what is one and the same job.

use cache_admin::jobs::{JobState, JobsConfig, JobsError, Mode, StartError, Who};
use cache_core::Pattern;

use super::{ended, jo, jobs, removal, request, until};

#[tokio::test]
async fn a_removal_keeps_others_from_its_keys_until_it_ends() {
    let (jobs, keys) = jobs(JobsConfig::default()).await;
    let first = jobs.start(removal("k:1*")).await.unwrap();
    for pattern in ["k:1*", "k:12*", "k:*", "*", "?:1", "k:"] {
        match jobs.start(removal(pattern)).await {
            Err(StartError::Overlaps { job, pattern }) => {
                assert_eq!((job, &*pattern), (first.id, "k:1*"));
            }
            other => panic!("{pattern}: {other:?}"),
        }
    }
    // Others have nothing to do with it, and whoever counts removes nothing.
    let apart = jobs.start(removal("k:2*")).await.unwrap();
    let counts = jobs.start(request("*", Mode::Count)).await.unwrap();
    keys.open();
    for id in [first.id, apart.id, counts.id] {
        assert_eq!(ended(&jobs, id).await.state, JobState::Complete);
    }
    let again = jobs.start(removal("k:*")).await.unwrap();
    let again = ended(&jobs, again.id).await;
    assert_eq!(again.progress.removed, 1_000 - 2 * 111);
    assert_eq!((keys.left("k:").await, keys.left("other:").await), (0, 100));
}

#[tokio::test]
async fn a_paused_removal_keeps_its_keys() {
    let (jobs, _keys) = jobs(JobsConfig::default()).await;
    let first = jobs.start(removal("k:*")).await.unwrap();
    jobs.pause(first.id, &jo()).await.unwrap();
    let second = jobs.start(removal("k:5")).await;
    assert!(matches!(second, Err(StartError::Overlaps { .. })), "{second:?}");
}

#[tokio::test]
async fn of_many_at_once_one_begins() {
    let (jobs, _keys) = jobs(JobsConfig::default()).await;
    let starts = (0..20).map(|_| jobs.start(removal("k:*")));
    let begun = futures::future::join_all(starts).await;
    assert_eq!(begun.iter().filter(|begun| begun.is_ok()).count(), 1);
}

#[tokio::test]
async fn what_stands_before_every_key_is_in_no_pattern() {
    let (jobs, keys) = jobs(JobsConfig::default().with_key_prefix("k:")).await;
    keys.open();
    let job = jobs.start(removal("1*")).await.unwrap();
    let job = ended(&jobs, job.id).await;
    assert_eq!(
        (job.progress.removed, &*job.patterns),
        (111, &["1*".to_owned()][..])
    );
    let mut dry = request("*", Mode::DryRun);
    dry.options.sample = 5;
    let dry = jobs.start(dry).await.unwrap();
    let dry = ended(&jobs, dry.id).await;
    assert_eq!((dry.progress.matched, dry.progress.removed), (889, 0));
    assert!(
        dry.sample.len() == 5 && dry.sample.iter().all(|key| key.parse::<u32>().is_ok()),
        "{dry:?}"
    );
    assert_eq!(keys.left("other:").await, 100);
}

#[tokio::test]
async fn the_same_request_with_the_same_key_is_one_job() {
    let (jobs, keys) = jobs(JobsConfig::default()).await;
    let first = jobs
        .start(removal("k:*").with_idempotency_key("a"))
        .await
        .unwrap();
    let again = jobs
        .start(removal("k:*").with_idempotency_key("a"))
        .await
        .unwrap();
    assert_eq!(first.id, again.id);
    let other = jobs.start(removal("other:*").with_idempotency_key("a")).await;
    assert!(
        matches!(other, Err(StartError::KeyReused { job }) if job == first.id),
        "{other:?}"
    );
    // What somebody else calls `a` is theirs.
    let mut theirs = removal("other:*").with_idempotency_key("a");
    theirs.actor = Who::new("ann");
    assert_ne!(jobs.start(theirs).await.unwrap().id, first.id);
    keys.open();
    ended(&jobs, first.id).await;
    let late = jobs
        .start(removal("k:*").with_idempotency_key("a"))
        .await
        .unwrap();
    assert_eq!((late.id, late.state), (first.id, JobState::Complete));
}

#[tokio::test]
async fn no_more_than_so_many_are_at_work_and_a_paused_one_makes_room() {
    let (jobs, keys) = jobs(JobsConfig::default().with_running(1)).await;
    let first = jobs.start(removal("k:*")).await.unwrap();
    until(&jobs, first.id, super::running).await;
    let second = jobs.start(removal("other:*")).await.unwrap();
    assert_eq!(second.state, JobState::Queued);
    jobs.pause(first.id, &jo()).await.unwrap();
    until(&jobs, second.id, super::running).await;
    assert_eq!(
        jobs.resume(first.id, &jo()).await.unwrap().state,
        JobState::Queued
    );
    keys.open();
    assert_eq!(ended(&jobs, second.id).await.progress.removed, 100);
    assert_eq!(ended(&jobs, first.id).await.progress.removed, 1_000);
}

#[tokio::test]
async fn counts_keep_no_removal_waiting() {
    let (jobs, keys) = jobs(JobsConfig::default().with_counting(1)).await;
    for _ in 0..8 {
        jobs.start(request("k:*", Mode::Count)).await.unwrap();
    }
    let urgent = jobs.start(removal("other:*")).await.unwrap();
    until(&jobs, urgent.id, super::running).await;
    keys.open();
    assert_eq!(ended(&jobs, urgent.id).await.progress.removed, 100);
}

#[tokio::test]
async fn an_actor_has_so_many_jobs_and_others_have_theirs() {
    let (jobs, keys) = jobs(JobsConfig::default().with_jobs_of_each(1, 2)).await;
    for _ in 0..2 {
        jobs.start(request("k:*", Mode::Count)).await.unwrap();
    }
    let third = jobs.start(request("k:*", Mode::DryRun)).await;
    assert!(
        matches!(third, Err(StartError::TooMany { most: 2, .. })),
        "{third:?}"
    );
    let mut other = request("k:*", Mode::Count);
    other.actor = Who::new("bo");
    jobs.start(other).await.unwrap();
    jobs.start(removal("k:1")).await.unwrap();
    let second = jobs.start(removal("k:2")).await;
    assert!(
        matches!(second, Err(StartError::TooMany { most: 1, .. })),
        "{second:?}"
    );
    keys.open();
}

#[tokio::test]
async fn one_actor_does_not_hold_all_places() {
    let (jobs, keys) = jobs(JobsConfig::default().with_running(2)).await;
    let first = jobs.start(removal("k:1*")).await.unwrap();
    until(&jobs, first.id, super::running).await;
    jobs.start(removal("k:2*")).await.unwrap();
    let mut urgent = removal("other:*");
    urgent.actor = Who::new("bo");
    let urgent = jobs.start(urgent).await.unwrap();
    until(&jobs, urgent.id, super::running).await;
    keys.open();
    ended(&jobs, urgent.id).await;
}

#[tokio::test]
async fn a_flood_of_counts_leaves_the_idempotency_keys_of_others() {
    let config = JobsConfig::default().with_history(20, std::time::Duration::from_secs(3_600));
    let (jobs, keys) = jobs(config).await;
    keys.open();
    let mut once = removal("other:*").with_idempotency_key("once");
    once.actor = Who::new("bo");
    let first = jobs.start(once.clone()).await.unwrap();
    ended(&jobs, first.id).await;
    for number in 0..50 {
        let count = request("k:1", Mode::Count).with_idempotency_key(number.to_string());
        let job = jobs.start(count).await.unwrap();
        ended(&jobs, job.id).await;
        let removal = jobs.start(removal(&format!("none:{number}"))).await.unwrap();
        ended(&jobs, removal.id).await;
    }
    assert_eq!(jobs.start(once).await.unwrap().id, first.id);
    assert!(jobs.list(&[], None, 1_000).len() <= 42);
}

#[tokio::test]
async fn a_job_that_waits_can_be_stopped() {
    let (jobs, keys) = jobs(JobsConfig::default().with_running(1)).await;
    let first = jobs.start(removal("k:*")).await.unwrap();
    until(&jobs, first.id, super::running).await;
    let second = jobs.start(removal("other:*")).await.unwrap();
    jobs.cancel(second.id, &jo()).await.unwrap();
    let second = ended(&jobs, second.id).await;
    assert_eq!((second.state, second.progress.removed), (JobState::Cancelled, 0));
    keys.open();
    assert_eq!(ended(&jobs, first.id).await.state, JobState::Complete);
    assert_eq!(keys.left("other:").await, 100);
}

#[tokio::test]
async fn what_is_closed_starts_nothing() {
    let (jobs, _keys) = jobs(JobsConfig::default()).await;
    jobs.close().await;
    let late = jobs.start(removal("k:*")).await;
    assert!(
        matches!(late, Err(StartError::Kept(JobsError::Closed))),
        "{late:?}"
    );
    let long = Pattern::new(vec![b'a'; Pattern::MAX_LEN]).unwrap();
    let (jobs, _keys) = super::jobs(JobsConfig::default().with_key_prefix("p:")).await;
    let mut request = removal("k:*");
    request.selection = long.into();
    let refused = jobs.start(request).await;
    assert!(matches!(refused, Err(StartError::Invalid(_))), "{refused:?}");
}
