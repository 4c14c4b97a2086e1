//! Pause, resume, cancel.

use cache_admin::jobs::{ControlError, JobId, JobState, JobsConfig};

use super::{ended, jo, jobs, removal, running, until};

#[tokio::test]
async fn a_paused_job_does_nothing_until_it_goes_on() {
    let (jobs, keys) = jobs(JobsConfig::default()).await;
    let id = jobs.start(removal("k:*")).await.unwrap().id;
    keys.let_through(20);
    until(&jobs, id, |job| running(job) && job.progress.removed > 0).await;
    jobs.pause(id, &jo()).await.unwrap();
    // The page that is under way may come to its end; then there are pages to be had that nobody wants.
    keys.let_through(50);
    let (mut last, mut quiet) = ((0, 0), 0);
    while quiet < 500 {
        tokio::task::yield_now().await;
        let now = (keys.unused(), keys.left("k:").await);
        quiet = if now == last { quiet + 1 } else { 0 };
        last = now;
    }
    let (unused, left) = last;
    assert!(unused >= 49 && left > 0, "{unused} pages, {left} keys");
    assert_eq!(jobs.get(id).unwrap().state, JobState::Paused);
    assert_eq!(jobs.pause(id, &jo()).await.unwrap().state, JobState::Paused);
    jobs.resume(id, &jo()).await.unwrap();
    keys.open();
    let job = ended(&jobs, id).await;
    assert_eq!((job.state, job.progress.removed), (JobState::Complete, 1_000));
    assert_eq!(keys.left("other:").await, 100);
}

#[tokio::test]
async fn a_cancelled_job_says_what_it_did() {
    let (jobs, keys) = jobs(JobsConfig::default()).await;
    let id = jobs.start(removal("k:*")).await.unwrap().id;
    keys.let_through(20);
    until(&jobs, id, |job| job.progress.removed > 0).await;
    jobs.cancel(id, &jo()).await.unwrap();
    keys.open();
    let job = ended(&jobs, id).await;
    assert_eq!((job.state, job.stopping), (JobState::Cancelled, false));
    assert!(job.ended.is_some());
    let left = u64::try_from(keys.left("k:").await).unwrap();
    assert!(
        left > 0 && job.progress.removed == 1_000 - left,
        "{job:?}, {left} left"
    );
    // Again is fine, and nothing else is.
    assert_eq!(jobs.cancel(id, &jo()).await.unwrap().state, JobState::Cancelled);
    for refused in [jobs.pause(id, &jo()).await, jobs.resume(id, &jo()).await] {
        assert!(
            matches!(
                refused,
                Err(ControlError::NotNow {
                    state: JobState::Cancelled,
                    ..
                })
            ),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_paused_job_can_be_cancelled() {
    let (jobs, keys) = jobs(JobsConfig::default()).await;
    let id = jobs.start(removal("k:*")).await.unwrap().id;
    jobs.pause(id, &jo()).await.unwrap();
    assert!(jobs.cancel(id, &jo()).await.unwrap().stopping || jobs.get(id).unwrap().state.is_ended());
    assert_eq!(ended(&jobs, id).await.state, JobState::Cancelled);
    assert_eq!(keys.left("k:").await, 1_000);
}

#[tokio::test]
async fn nobody_steers_what_is_not_there() {
    let (jobs, _keys) = jobs(JobsConfig::default()).await;
    let id: JobId = "01k9h3mvq8x4t0r7c2e5a6b8d9".parse().unwrap();
    let refused = jobs.cancel(id, &jo()).await.unwrap_err();
    assert_eq!(refused.to_string(), "there is no job 01k9h3mvq8x4t0r7c2e5a6b8d9");
    assert!(jobs.get(id).is_none() && jobs.events(id, 0).is_none() && jobs.wait(id).await.is_none());
}
