//! Who did what is written down, or it is not done.

use std::path::Path;

use cache_admin::jobs::{
    Audit, AuditSync, ControlError, JobState, JobsConfig, JobsError, Mode, StartError, Who,
};
use serde_json::Value;

use super::{ended, jo, jobs, removal, reopen, request, stored, until};

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn every_step_of_a_job_is_a_line_with_who_and_from_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let audit = Audit::open(&path, AuditSync::Each).await.unwrap();
    let (jobs, keys) = jobs(JobsConfig::default().with_audit(audit)).await;
    let mut request = removal("k:*");
    request.actor = Who::new("jo\n{\"who\":\"ann\"}");
    let id = jobs.start(request).await.unwrap().id;
    let ann = Who::new("ann").with_from("10.0.0.9").with_request_id("r-2");
    let mut other = removal("k:1");
    other.actor = ann.clone();
    assert!(jobs.start(other).await.is_err());
    jobs.pause(id, &ann).await.unwrap();
    jobs.resume(id, &ann).await.unwrap();
    jobs.cancel(id, &ann).await.unwrap();
    keys.open();
    let job = ended(&jobs, id).await;
    assert_eq!(job.state, JobState::Cancelled);

    let lines = lines(&path);
    let told: Vec<(&str, &str, &str)> = lines
        .iter()
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap();
            (text("who"), text("action"), text("result"))
        })
        .collect();
    let first = "jo\\x0a{\"who\":\"ann\"}";
    let expected = [
        (first, "job.start", "ok"),
        ("ann", "job.start", "refused"),
        ("ann", "job.pause", "ok"),
        ("ann", "job.resume", "ok"),
        ("ann", "job.cancel", "ok"),
        (first, "job.finish", "cancelled"),
    ];
    let mut sorted = told.clone();
    // The end may be written before what brought it about.
    sorted.sort_by_key(|line| expected.iter().position(|expected| expected == line));
    assert_eq!(sorted, expected);
    assert_eq!(lines[0]["on"]["patterns"], serde_json::json!(["k:*"]));
    assert_eq!(lines[0]["on"]["job"], id.to_string());
    assert_eq!(lines[1]["from"], "10.0.0.9");
    assert_eq!(lines[1]["request_id"], "r-2");
    assert!(
        lines
            .iter()
            .all(|line| line["time"].as_str().unwrap().ends_with('Z'))
    );
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_begun_and_can_still_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs").join("audit.jsonl");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    let audit = Audit::open(&path, AuditSync::Each).await.unwrap();
    let config = stored(folder.path()).with_audit(audit);
    let (first, keys) = jobs(config.clone()).await;
    let id = first.start(removal("k:*")).await.unwrap().id;
    until(&first, id, super::running).await;
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();

    for mode in [Mode::Execute, Mode::Count] {
        let refused = first.start(request("other:*", mode)).await.unwrap_err();
        assert!(
            matches!(refused, StartError::Kept(JobsError::Audit { .. })),
            "{refused:?}"
        );
        assert!(
            refused.to_string().contains(&*path.to_string_lossy()),
            "{refused}"
        );
    }
    assert_eq!(first.list(&[], None, 10).len(), 1);
    first.pause(id, &jo()).await.unwrap();
    let refused = first.resume(id, &jo()).await;
    assert!(
        matches!(refused, Err(ControlError::Kept(JobsError::Audit { .. }))),
        "{refused:?}"
    );
    assert_eq!(first.get(id).unwrap().state, JobState::Paused);
    first.close().await;
    let second = reopen(&keys, config).await;
    keys.open();
    let refused = second.resume(id, &jo()).await;
    assert!(
        matches!(refused, Err(ControlError::Kept(JobsError::Audit { .. }))),
        "{refused:?}"
    );
    assert_eq!(second.cancel(id, &jo()).await.unwrap().state, JobState::Cancelled);
    assert_eq!((keys.left("k:").await, keys.left("other:").await), (1_000, 100));
}
