//! Jobs over the embedded client, whose walk goes on page by page as each test says.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what cannot be set up fails the test"
)]

mod auditing;
mod belonging;
mod gated;
mod remembering;
mod starting;
mod steering;
mod surviving;
mod telling;

use std::path::Path;

use cache_admin::Engine;
use cache_admin::jobs::{Job, JobId, JobOptions, JobRequest, JobState, Jobs, JobsConfig, Mode, Who};
use cache_core::Pattern;

use gated::Gated;

/// Jobs over 1,000 keys `k:0` to `k:999` and 100 keys `other:0` to `other:99`, of which nothing is walked until
/// the gate opens.
async fn jobs(config: JobsConfig) -> (Jobs, Gated) {
    let keys = Gated::new().await;
    (reopen(&keys, config).await, keys)
}

async fn reopen(keys: &Gated, config: JobsConfig) -> Jobs {
    Jobs::open(Engine::new(keys.clone()), config).await.unwrap()
}

fn stored(folder: &Path) -> JobsConfig {
    JobsConfig::default().with_store(folder.join("jobs.redb"))
}

fn removal(pattern: &str) -> JobRequest {
    request(pattern, Mode::Execute)
}

/// Ten keys at a time, so that there are many pages.
fn request(pattern: &str, mode: Mode) -> JobRequest {
    let options = JobOptions {
        page_size: 10,
        ..JobOptions::default()
    };
    JobRequest::new(Pattern::new(pattern).unwrap(), mode, jo()).with_options(options)
}

fn jo() -> Who {
    Who::new("jo").with_from("10.0.0.7").with_request_id("r-1")
}

/// Waits until the job is as `reached` says.
async fn until(jobs: &Jobs, id: JobId, reached: impl Fn(&Job) -> bool) -> Job {
    let limit = std::time::Duration::from_secs(30);
    let waiting = async {
        loop {
            let job = jobs.get(id).expect("the job");
            if reached(&job) {
                return job;
            }
            tokio::task::yield_now().await;
        }
    };
    match tokio::time::timeout(limit, waiting).await {
        Ok(job) => job,
        Err(_) => panic!("never came: {:?}", jobs.get(id)),
    }
}

async fn ended(jobs: &Jobs, id: JobId) -> Job {
    let limit = std::time::Duration::from_secs(30);
    let job = tokio::time::timeout(limit, jobs.wait(id)).await;
    job.expect("an end").expect("the job")
}

fn running(job: &Job) -> bool {
    job.state == JobState::Running
}
