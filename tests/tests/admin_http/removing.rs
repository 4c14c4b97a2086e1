//! A removal as an operator sees it: asked to confirm, followed by its events, taken up by another process.

use anyhow::{Context as _, Result, ensure};
use cache_admin::jobs::JobsConfig;
use cache_core::CacheClient as _;
use serde_json::json;
use tests::{Cluster, ClusterOptions, until};

use super::{LIMIT, Served};

#[tokio::test]
async fn a_removal_is_followed_to_its_end_over_connections_that_break() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let served = Served::start(&cluster, JobsConfig::default()).await?;
    served
        .fill((0..20_000).map(|number| format!("doomed:{number}")))
        .await?;
    served
        .fill((0..100).map(|number| format!("kept:{number}")))
        .await?;
    let body = json!({ "patterns": ["doomed:*"], "mode": "execute", "rate": 20_000 });
    let key = [
        ("content-type", "application/json"),
        ("idempotency-key", "deploy-1"),
    ];
    let started = served
        .client
        .ask("POST", "/cache/pattern", &key, &body.to_string())
        .await?;
    ensure!(started.status == 202, "{started:?}");
    let again = served
        .client
        .ask("POST", "/cache/pattern", &key, &body.to_string())
        .await?;
    ensure!(again.json["id"] == started.json["id"], "{again:?}");
    let location = started.header("location").context("no location")?;
    let path = format!("/cache/{location}/events");

    let mut first = served.client.begin("GET", &path, &[], "").await?;
    ensure!(first.status == 200, "{first:?}");
    let seen = first.events(LIMIT, |event| event.name == "progress").await?;
    let last = seen.last().context("no event")?.id;
    drop(first);
    let id = last.to_string();
    let mut second = served
        .client
        .begin("GET", &path, &[("last-event-id", &id)], "")
        .await?;
    let rest = second.events(LIMIT, |_| false).await?;
    ensure!(rest.iter().all(|event| event.id > last), "{rest:?}");
    let ended = rest.last().context("no end")?;
    ensure!(
        ended.name == "ended" && ended.data["removed"] == 20_000,
        "{ended:?}"
    );
    let id = ended.id.to_string();
    let nothing = served
        .client
        .ask("GET", &path, &[("last-event-id", &id)], "")
        .await?;
    ensure!(nothing.status == 204, "{nothing:?}");

    let job = served.client.get(&format!("/cache/{location}")).await?;
    ensure!(job.json["state"] == "complete", "{job:?}");
    let by_primary = job.json["primaries"].as_array().context("no primaries")?;
    ensure!(
        by_primary.len() == 3 && by_primary.iter().all(|one| one["removed"].as_u64() > Some(5_000)),
        "{job:?}"
    );
    ensure!(
        served
            .stack
            .client
            .exists(&["kept:1", "kept:99", "doomed:1"])
            .await?
            == 2
    );
    served.stop().await
}

#[tokio::test]
async fn everything_is_removed_once_somebody_says_yes() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let served = Served::start(&cluster, JobsConfig::default()).await?;
    served.fill((0..500).map(|number| format!("k:{number}"))).await?;
    let mut body = json!({ "patterns": ["*"], "mode": "execute" });
    let asked = served.client.post("/cache/pattern", &body).await?;
    ensure!(asked.status == 428, "{asked:?}");
    ensure!(
        asked.json["type"] == "urn:problem-type:cache-admin:confirmation-required",
        "{asked:?}"
    );
    let count = json!({ "patterns": ["*"], "mode": "count" });
    let counted = served.client.post("/cache/pattern", &count).await?;
    ensure!(
        counted.status == 200 && counted.json["progress"]["matched"] == 500,
        "{counted:?}"
    );
    body["confirm"] = asked.json["confirm"].clone();
    let started = served.client.post("/cache/pattern", &body).await?;
    ensure!(started.status == 202, "{started:?}");
    let id = started.json["id"].as_str().context("no id")?.parse()?;
    let job = served.service.jobs().wait(id).await.context("no job")?;
    ensure!(job.progress.removed == 500, "{job:?}");
    served.stop().await
}

#[tokio::test]
async fn a_job_outlives_its_process_and_the_counts_add_up() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let folder = tempfile::tempdir()?;
    let config = || JobsConfig::default().with_store(folder.path().join("jobs.redb"));
    let served = Served::start(&cluster, config()).await?;
    served
        .fill((0..10_000).map(|number| format!("doomed:{number}")))
        .await?;
    let body = json!({ "patterns": ["doomed:*"], "mode": "execute", "rate": 2_000 });
    let started = served.client.post("/cache/pattern", &body).await?;
    let id = started.json["id"].as_str().context("no id")?.to_owned();
    let path = format!("/cache/jobs/{id}");
    until(LIMIT, "keys that were removed", async || {
        let job = served.client.get(&path).await?;
        Ok((job.json["progress"]["removed"].as_u64() > Some(0)).then_some(()))
    })
    .await?;
    // A listener to its events does not hold up the end.
    let mut listening = served
        .client
        .begin("GET", &format!("{path}/events"), &[], "")
        .await?;
    served.stop().await?;
    listening.events(LIMIT, |_| false).await?;

    let served = Served::start(&cluster, config()).await?;
    let left = served.client.get(&path).await?;
    ensure!(left.json["state"] == "interrupted", "{left:?}");
    let resumed = served.client.post(&format!("{path}/resume"), &json!({})).await?;
    ensure!(resumed.status == 200, "{resumed:?}");
    let job = served.service.jobs().wait(id.parse()?).await.context("no job")?;
    ensure!(job.state.name() == "complete", "{job:?}");
    let counted = job.progress.removed;
    ensure!(counted <= 10_000 && counted + job.uncounted >= 10_000, "{job:?}");
    served.stop().await
}
