//! The history: newest first, page by page, and no longer than it may be.

use std::time::Duration;

use cache_admin::jobs::{JobState, JobsConfig, Mode};

use super::{ended, jobs, removal, reopen, request, stored};

#[tokio::test]
async fn jobs_are_listed_newest_first_and_page_by_page() {
    let (jobs, keys) = jobs(JobsConfig::default()).await;
    let stays = jobs.start(removal("other:*")).await.unwrap().id;
    keys.open();
    ended(&jobs, stays).await;
    let mut ids = vec![stays];
    for _ in 0..6 {
        let id = jobs.start(request("k:*", Mode::Count)).await.unwrap().id;
        ended(&jobs, id).await;
        ids.push(id);
    }
    ids.reverse();
    let mut listed = Vec::new();
    while let page = jobs.list(&[], listed.last().copied(), 3)
        && !page.is_empty()
    {
        assert!(page.len() <= 3);
        listed.extend(page.iter().map(|job| job.id));
    }
    assert_eq!(listed, ids);
    assert_eq!(
        jobs.list(&[JobState::Running, JobState::Paused], None, 10).len(),
        0
    );
    assert_eq!(jobs.list(&[JobState::Complete], None, 10).len(), 7);
}

#[tokio::test]
async fn no_more_jobs_of_the_past_are_kept_than_allowed_in_the_store_too() {
    let folder = tempfile::tempdir().unwrap();
    let config = stored(folder.path()).with_history(3, Duration::from_secs(3_600));
    let (jobs, keys) = jobs(config.clone()).await;
    let waits = jobs.start(removal("other:*")).await.unwrap().id;
    keys.open();
    ended(&jobs, waits).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let id = jobs.start(removal("k:*")).await.unwrap().id;
        ended(&jobs, id).await;
        ids.push(id);
    }
    let kept = |jobs: &cache_admin::jobs::Jobs| -> Vec<_> {
        let list = jobs.list(&[], None, 100);
        list.iter().map(|job| job.id).collect()
    };
    // Forgetting is the last thing that a run does.
    jobs.close().await;
    assert_eq!(kept(&jobs), [ids[4], ids[3], ids[2]]);
    let again = reopen(
        &keys,
        config.clone().with_history(100, Duration::from_secs(3_600)),
    )
    .await;
    assert_eq!(kept(&again), [ids[4], ids[3], ids[2]]);
    again.close().await;
    let young = reopen(&keys, config.with_history(100, Duration::ZERO)).await;
    assert!(kept(&young).is_empty());
}
