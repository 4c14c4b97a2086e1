//! `deploy/docker-compose.yml` and the image of `deploy/docker/Dockerfile`, in a container engine: one server and a
//! cluster, the service's answers as the README shows them, its administration, and the drill of a failover.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::{Compose, Docker, cachectl, until};
use tokio::sync::oneshot;

use crate::http::{Request, Response};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");

/// A built image answers within this time, whichever way it is started.
const UP: Duration = Duration::from_secs(60);

/// A node timeout of 5 s, the vote of the others, and a client that looks again.
const FAILOVER: Duration = Duration::from_secs(30);

/// The image under test; removed when dropped.
struct Image<'a> {
    docker: &'a Docker,
    tag: String,
}

impl<'a> Image<'a> {
    async fn build(docker: &'a Docker) -> Result<Self> {
        let tag = format!("cache-client:test-{}", std::process::id());
        let service = Path::new(env!("CARGO_BIN_EXE_tenant-service"));
        let programs = [service, &cachectl().await?];
        let dockerfile = Path::new(DEPLOY).join("docker/Dockerfile");
        docker.build_with(&dockerfile, &tag, &programs).await?;
        docker.valkey_image().await?;
        Ok(Self { docker, tag })
    }
}

impl Drop for Image<'_> {
    fn drop(&mut self) {
        self.docker.remove_image(&self.tag);
    }
}

/// The tenant whose plan allows the most requests.
const TENANT: (&str, &str) = ("globex", "demo-globex");

/// How often the settings are asked for during the drill: fewer than the plan allows.
const PACE: Duration = Duration::from_millis(100);

/// Asks for the settings of the tenant at the service on `port`.
async fn settings(port: u16) -> Result<Response> {
    let request = Request::get("/settings").header("x-api-key", TENANT.1);
    request.send(&format!("127.0.0.1:{port}")).await
}

async fn is_ready(port: u16) -> Result<Option<()>> {
    let answer = Request::get("/health/ready")
        .send(&format!("127.0.0.1:{port}"))
        .await?;
    Ok((answer.status == 200 && answer.json()["status"] == "ready").then_some(()))
}

/// The lines of the README: from the database, from the cache, and from the database again once the administration has
/// removed the entries.
async fn serves_as_the_readme_says(service: u16, administration: u16) -> Result<()> {
    until(UP, "the service to be ready", || is_ready(service)).await?;
    until(UP, "the administration to be ready", || is_ready(administration)).await?;
    assert_eq!(settings(service).await?.json()["served_from"], "database");
    assert_eq!(settings(service).await?.json()["served_from"], "cache");

    let output = tokio::process::Command::new(cachectl().await?)
        .args(["invalidate", "tenant-service:v1:*", "--json"])
        .env_clear()
        .env("CACHECTL_SERVER", format!("http://127.0.0.1:{administration}"))
        .env(
            "CACHECTL_TOKEN_FILE",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tenant-service/demo/token"),
        )
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("complete"), "{said}");
    assert_eq!(settings(service).await?.json()["served_from"], "database");

    let metrics = Request::get("/metrics")
        .send(&format!("127.0.0.1:{service}"))
        .await?;
    assert_eq!(metrics.status, 200);
    assert!(
        metrics.body.contains("cache_operations_total"),
        "{}",
        metrics.body
    );
    Ok(())
}

const NODES: [&str; 6] = ["node-1", "node-2", "node-3", "node-4", "node-5", "node-6"];

/// The primary that holds the settings of the tenant, if they are stored by now: answers do not wait for that.
async fn primary_of_the_settings(compose: &Compose) -> Result<Option<&'static str>> {
    let pattern = format!("tenant-service:v1:{{{}}}:*:settings", TENANT.0);
    for name in NODES {
        let role = compose.run(&["exec", "-T", name, "valkey-cli", "role"]).await?;
        let keys = ["exec", "-T", name, "valkey-cli", "--scan", "--pattern", &pattern];
        if role.starts_with("master") && compose.run(&keys).await?.contains("settings") {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// What the engine says of a container of compose, by a template.
async fn inspect(compose: &Compose, name: &str, template: &str) -> Result<String> {
    let id = compose.run(&["ps", "--quiet", "--all", name]).await?;
    let id = id.lines().next().context("no container")?;
    let output = tokio::process::Command::new("docker")
        .args(["inspect", "--format", template, id])
        .output()
        .await?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Asks for the settings again and again until it is told to stop; how many answers came. Fails with the first that is
/// not 200.
async fn ask_all_the_while(port: u16, mut stop: oneshot::Receiver<()>) -> Result<u64> {
    let mut answered = 0;
    let mut pace = tokio::time::interval(PACE);
    while stop.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
        let answer = settings(port)
            .await
            .with_context(|| format!("after {answered} answers"))?;
        ensure!(answer.status == 200, "after {answered} answers: {}", answer.body);
        answered += 1;
        pace.tick().await;
    }
    Ok(answered)
}

/// Kills the primary that holds the settings while they are asked for: each request is answered, and a replica takes over.
async fn survives_the_loss_of_a_primary(compose: &Compose, port: u16) -> Result<()> {
    let victim = until(UP, "the settings to be stored", || {
        primary_of_the_settings(compose)
    })
    .await?;
    let (stop, stopped) = oneshot::channel();
    let asking = tokio::spawn(ask_all_the_while(port, stopped));
    compose.run(&["kill", victim]).await?;
    let other = NODES
        .into_iter()
        .find(|name| *name != victim)
        .context("one node")?;
    until(FAILOVER, "a replica to take over", || async {
        let info = ["exec", "-T", other, "valkey-cli", "cluster", "info"];
        let info = compose.run(&info).await?;
        let is_whole = info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384");
        Ok((is_whole && info.contains("cluster_slots_fail:0")).then_some(()))
    })
    .await?;
    until(FAILOVER, "the settings to come from the cache again", || async {
        Ok((settings(port).await?.json()["served_from"] == "cache").then_some(()))
    })
    .await?;
    // One that has ended has the reason.
    let _ = stop.send(());
    ensure!(asking.await?? > 0, "nothing was asked during the failover");
    compose.run(&["start", victim]).await?;
    Ok(())
}

#[tokio::test]
async fn compose_serves_on_one_server_and_on_a_cluster_that_loses_a_primary() -> Result<()> {
    let name = "compose_serves_on_one_server_and_on_a_cluster_that_loses_a_primary";
    let Some(docker) = Docker::find_or_skip(name) else {
        return Ok(());
    };
    let image = Image::build(&docker).await?;
    let file = Path::new(DEPLOY).join("docker-compose.yml");
    let Some(compose) = Compose::find_or_skip(name, &file, &["cluster"]) else {
        return Ok(());
    };
    let mut compose = compose.with("CACHE_CLIENT_IMAGE", &image.tag);
    let [service, administration, on_cluster, administration_on_cluster] = [
        compose.publish("SERVICE_PORT")?,
        compose.publish("ADMIN_PORT")?,
        compose.publish("CLUSTER_SERVICE_PORT")?,
        compose.publish("CLUSTER_ADMIN_PORT")?,
    ];
    compose.publish("VALKEY_PORT")?;
    compose.up().await?;

    serves_as_the_readme_says(service, administration).await?;
    serves_as_the_readme_says(on_cluster, administration_on_cluster).await?;

    // By the image's own health check, and by that of the compose file.
    for name in ["service", "administration"] {
        until(UP, "a container to be healthy", || async {
            let health = inspect(&compose, name, "{{.State.Health.Status}}").await?;
            Ok((health == "healthy").then_some(()))
        })
        .await?;
    }
    survives_the_loss_of_a_primary(&compose, on_cluster).await?;

    // As a supervisor stops it: the programs end by themselves, in time, with success.
    compose.run(&["stop", "service", "administration"]).await?;
    for name in ["service", "administration"] {
        let state = inspect(&compose, name, "{{.State.ExitCode}} {{.Config.User}}").await?;
        assert_eq!(state, "0 65532:65532", "{name}");
    }
    Ok(())
}
