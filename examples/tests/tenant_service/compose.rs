//! `deploy/docker-compose.yml` and the image of `deploy/docker/Dockerfile`, in a container engine: one server and a
//! cluster, the service's answers as the README shows them, its administration, and the drill of a failover.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::{Compose, Docker, cachectl, until};

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

/// Asks for the settings of a tenant at the service on `port`.
async fn settings(port: u16) -> Result<Response> {
    let request = Request::get("/settings").header("x-api-key", "demo-acme");
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

/// The container that serves the slot of the tenant's settings, by asking the first node for the cluster's layout.
async fn a_primary(compose: &Compose) -> Result<String> {
    let mut nodes = Vec::new();
    for name in ["node-1", "node-2", "node-3", "node-4", "node-5", "node-6"] {
        let role = compose.run(&["exec", "-T", name, "valkey-cli", "role"]).await?;
        if role.starts_with("master") {
            nodes.push(name);
        }
    }
    assert_eq!(nodes.len(), 3, "{nodes:?}");
    Ok(nodes[0].to_owned())
}

#[tokio::test]
async fn compose_serves_on_one_server_and_on_a_cluster_that_loses_a_primary() -> Result<()> {
    let name = "compose_serves_on_one_server_and_on_a_cluster_that_loses_a_primary";
    let Some(docker) = Docker::find_or_skip(name) else {
        return Ok(());
    };
    let image = Image::build(&docker).await?;
    let file = Path::new(DEPLOY).join("docker-compose.yml");
    let mut compose = Compose::new(&file, &["cluster"])?.with("CACHE_CLIENT_IMAGE", &image.tag);
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

    // The drill: a primary is killed, callers are answered all the while, and the cluster is whole again.
    let victim = a_primary(&compose).await?;
    compose.run(&["kill", &victim]).await?;
    until(FAILOVER, "a replica to take over", || async {
        let answer = settings(on_cluster).await.context("during the failover")?;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let other = if victim == "node-1" { "node-2" } else { "node-1" };
        let info = compose
            .run(&["exec", "-T", other, "valkey-cli", "cluster", "info"])
            .await?;
        let is_whole = info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384");
        Ok((is_whole && info.contains("cluster_slots_fail:0")).then_some(()))
    })
    .await?;
    until(FAILOVER, "the settings to come from the cache again", || async {
        Ok((settings(on_cluster).await?.json()["served_from"] == "cache").then_some(()))
    })
    .await?;
    compose.run(&["start", &victim]).await?;

    // As a supervisor stops it: the programs end by themselves, in time, with success.
    compose.run(&["stop", "service", "administration"]).await?;
    for name in ["service", "administration"] {
        let id = compose.run(&["ps", "--quiet", "--all", name]).await?;
        let id = id.lines().next().context("no container")?;
        let state = tokio::process::Command::new("docker")
            .args(["inspect", "--format", "{{.State.ExitCode}} {{.Config.User}}", id])
            .output()
            .await?;
        let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
        assert_eq!(state, "0 65532:65532", "{name}");
    }
    Ok(())
}
