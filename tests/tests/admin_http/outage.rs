//! A primary that does not answer: what cannot be told is said to be so, in time.

use anyhow::{Context as _, Result, ensure};
use cache_admin::jobs::JobsConfig;
use cache_core::CacheConfig;
use cache_core::config::{Backend, OnError, Topology, ValkeyConfig};
use serde_json::json;
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version};

use super::Served;

#[tokio::test]
async fn what_one_primary_keeps_from_us_is_told_and_the_rest_goes_on() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let served = Served::start(&cluster, JobsConfig::default()).await?;
    served.fill((0..300).map(|number| format!("k:{number}"))).await?;
    let slot = cache_core::slot::slot_of(b"k:1");
    cluster.kill(cluster.primary_of(slot).await?)?;

    let key = served.client.get("/cache?key=k:1").await?;
    ensure!([503, 504].contains(&key.status), "{key:?}");
    ensure!(
        key.json["request_id"].as_str() == key.header("x-request-id"),
        "{key:?}"
    );
    let ready = served.client.get("/health/ready").await?;
    let warning = ready.json["warnings"][0].as_str().context("no warning")?;
    ensure!(
        ready.status == 200 && warning.contains("of 3 primaries"),
        "{ready:?}"
    );
    ensure!(served.client.get("/health/live").await?.status == 200);

    let body = json!({ "patterns": ["k:*"], "mode": "execute", "patience_ms": 500 });
    let started = served.client.post("/cache/pattern", &body).await?;
    ensure!(started.status == 202, "{started:?}");
    let id = started.json["id"].as_str().context("no id")?.parse()?;
    served.service.jobs().wait(id).await.context("no job")?;
    let job = served.client.get(&format!("/cache/jobs/{id}")).await?.json;
    ensure!(job["state"] == "partial", "{job}");
    let gaps = job["gaps"].as_array().context("no gaps")?;
    ensure!(gaps.iter().any(|gap| gap["slots"].is_array()), "{job}");
    let removed = job["progress"]["removed"].as_u64().context("no count")?;
    ensure!((100..300).contains(&removed), "{job}");
    served.stop().await
}

#[tokio::test]
async fn no_primary_at_all_is_not_ready() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let served = Served::start(&cluster, JobsConfig::default()).await?;
    let whole = served.client.get("/health/ready").await?;
    ensure!(
        whole.status == 200 && whole.json.get("warnings").is_none(),
        "{whole:?}"
    );
    for node in 0..3 {
        cluster.kill(node)?;
    }
    let ready = tests::until(super::LIMIT, "the service to notice", || async {
        let ready = served.client.get("/health/ready").await?;
        Ok((ready.status != 200).then_some(ready))
    })
    .await?;
    ensure!(
        ready.status == 503 && ready.header("retry-after").is_some(),
        "{ready:?}"
    );
    served.stop().await
}

#[tokio::test]
async fn a_removal_that_failed_does_not_look_done_where_errors_are_passed_over() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let valkey = ValkeyConfig::new(Topology::single(server.address().parse()?));
    let config = CacheConfig::builder()
        .backend(Backend::Valkey(valkey))
        .on_error(OnError::Bypass)
        .build()?;
    let served = Served::with(&config, JobsConfig::default()).await?;
    served.fill(["k:1".to_owned()].into_iter()).await?;
    let removed = served.client.ask("DELETE", "/cache?key=k:1", &[], "").await?;
    ensure!(
        removed.status == 200 && removed.json["removed"] == 1,
        "{removed:?}"
    );
    served.fill(["k:1".to_owned()].into_iter()).await?;
    server.kill()?;
    let removed = served.client.ask("DELETE", "/cache?key=k:1", &[], "").await?;
    ensure!([503, 504].contains(&removed.status), "{removed:?}");
    let shown = served.client.get("/cache/namespaces/billing/generation").await?;
    ensure!([503, 504].contains(&shown.status), "{shown:?}");
    served.stop().await
}
