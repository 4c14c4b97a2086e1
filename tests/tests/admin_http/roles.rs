//! The service with a user of a role: what the role is for works through HTTP, too.

use anyhow::{Context as _, Result, ensure};
use cache_admin::jobs::JobsConfig;
use cache_admin::users::{Credentials, Declaration, Plan, Scope, nodes_of};
use cache_core::config::{Authentication, Topology, ValkeyConfig};
use cache_valkey::ValkeyClient;
use serde_json::json;
use tests::{Cluster, ClusterOptions, ServerOptions, Version};

use super::Served;

const DECLARED: &str = "
prefix = 'app-'
topology = 'cluster'

[services.billing]
keyspaces = ['billing:']
[services.billing.users.service]
password = 'env:BILLING'
[services.billing.users.invalidator]
password = 'env:INVALIDATOR'

[admins.oncall]
role = 'operator'
password = 'env:ONCALL'
[admins.board]
role = 'viewer'
password = 'env:BOARD'
";

fn password(name: &str) -> String {
    format!("Zk3-vv91!qLm0-{}", name.to_lowercase())
}

/// A cluster with the users, and how to be one of them.
async fn cluster(version: Version) -> Result<(Cluster, ValkeyConfig)> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0).node(ServerOptions::new(version))).await?;
    let seeds = cluster.addresses();
    let seeds = seeds
        .iter()
        .map(|seed| seed.parse())
        .collect::<Result<Vec<_>, _>>()?;
    let config = ValkeyConfig::new(Topology::cluster(seeds));
    let root = ValkeyClient::connect(&config).await?;
    let declaration = Declaration::parse(DECLARED)?;
    let credentials = Credentials::read(&declaration, |name| Some(password(name)))?;
    let nodes = nodes_of(&root, declaration.target()).await?;
    let plan = Plan::make(&declaration, &credentials, &nodes, Scope::All).await;
    let applied = plan.apply().await?;
    ensure!(applied.is_complete(), "{applied:?}");
    Ok((cluster, config))
}

async fn served_as(config: &ValkeyConfig, user: &str, name: &str) -> Result<Served> {
    let config = config.clone().with_authentication(Authentication::Password {
        username: Some(user.to_owned()),
        password: password(name).into(),
    });
    Served::of(config, JobsConfig::default()).await
}

#[tokio::test]
async fn an_operator_can_use_every_route() -> Result<()> {
    for version in [Version::Valkey8, Version::Valkey9] {
        let (_cluster, config) = cluster(version).await?;
        let served = served_as(&config, "app-oncall", "ONCALL").await?;
        for path in [
            "/health/ready",
            "/cache",
            "/cache/keys?pattern=billing:*&fields=ttl,type,size",
            "/cache/namespaces/billing/generation",
            "/cache/jobs",
            "/cache/pulse",
            "/cache/big-keys",
        ] {
            let answer = served.client.get(path).await?;
            ensure!(answer.status == 200, "{version:?}: {path}: {answer:?}");
        }
        let removed = served
            .client
            .ask("DELETE", "/cache?key=billing:1", &[], "")
            .await?;
        ensure!(removed.status == 200, "{removed:?}");
        let count = json!({ "patterns": ["billing:*"], "mode": "dry_run" });
        let counted = served.client.post("/cache/pattern", &count).await?;
        ensure!(counted.status == 200, "{counted:?}");
        let removal = json!({ "patterns": ["billing:*"], "mode": "execute" });
        let started = served.client.post("/cache/pattern", &removal).await?;
        let id = started.json["id"].as_str().context("no id")?.parse()?;
        let job = served.service.jobs().wait(id).await.context("no job")?;
        ensure!(job.state.name() == "complete", "{job:?}");
        // The same step is made once, though the user may not write where such requests are remembered.
        let step = async || {
            let key = [("idempotency-key", "once")];
            served
                .client
                .ask("POST", "/cache/namespaces/billing/generation", &key, "")
                .await
        };
        let (first, again) = (step().await?, step().await?);
        ensure!(
            first.status == 200 && first.json == again.json,
            "{first:?} {again:?}"
        );
        served.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_a_role_lacks_is_refused_in_words_and_is_no_defect() -> Result<()> {
    let (_cluster, config) = cluster(Version::Valkey8).await?;
    for (user, name) in [
        ("app-billing", "BILLING"),
        ("app-billing-invalidator", "INVALIDATOR"),
        ("app-board", "BOARD"),
    ] {
        let served = served_as(&config, user, name).await?;
        for (method, path) in [
            ("GET", "/cache"),
            ("GET", "/cache/keys?pattern=billing:*&fields=ttl,type,size"),
            ("DELETE", "/cache?key=billing:1"),
            ("GET", "/cache/namespaces/billing/generation"),
            ("POST", "/cache/namespaces/billing/generation"),
            ("GET", "/cache/pulse"),
        ] {
            let answer = served.client.ask(method, path, &[], "").await?;
            let fine = answer.status == 200
                || (answer.status == 502 && answer.json["detail"].to_string().contains("may not run"));
            ensure!(fine, "{user}: {method} {path}: {answer:?}");
        }
        served.stop().await?;
    }
    Ok(())
}
