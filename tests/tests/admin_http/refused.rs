//! A cache that refuses the service: 502, with what it says, and nothing else goes wrong.

use anyhow::{Result, ensure};
use cache_admin::jobs::JobsConfig;
use cache_core::Secret;
use cache_core::config::{Authentication, Topology, ValkeyConfig};
use serde_json::json;
use tests::{Server, ServerOptions, Version};

use super::Served;
use super::client::Answer;

/// A user who may look and not remove, and only at some keys.
const USER: [&str; 10] = [
    "ACL", "SETUSER", "looker", "on", ">hunter2", "~k:*", "&*", "+@all", "-unlink", "-del",
];

fn is_refused(answer: &Answer, says: &str) -> Result<()> {
    ensure!(answer.status == 502, "{answer:?}");
    ensure!(
        answer.json["type"] == "urn:problem-type:cache-admin:cache-refused",
        "{answer:?}"
    );
    let detail = answer.json["detail"].as_str().unwrap_or_default();
    ensure!(detail.contains(says) && !detail.contains("hunter2"), "{answer:?}");
    ensure!(
        answer.json["request_id"].as_str() == answer.header("x-request-id"),
        "{answer:?}"
    );
    Ok(())
}

#[tokio::test]
async fn what_the_servers_refuse_the_service_is_told_as_theirs() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    server.call(&USER).await?;
    server.call(&["SET", "k:1", "x"]).await?;
    let valkey = ValkeyConfig::new(Topology::single(server.address().parse()?)).with_authentication(
        Authentication::Password {
            username: Some("looker".to_owned()),
            password: Secret::new("hunter2".to_owned()),
        },
    );
    let served = Served::of(valkey, JobsConfig::default()).await?;

    ensure!(served.client.get("/cache?key=k:1").await?.status == 200);
    // A command that the user may not send.
    let removal = served.client.ask("DELETE", "/cache?key=k:1", &[], "").await?;
    is_refused(&removal, "unlink")?;
    ensure!(server.call(&["EXISTS", "k:1"]).await?.integer() == Some(1));
    // A key that is not theirs.
    let generation = "/cache/namespaces/billing/generation";
    is_refused(&served.client.get(generation).await?, "key")?;
    is_refused(&served.client.post(generation, &json!({})).await?, "key")?;
    // A user who is none any more.
    server
        .call(&["ACL", "SETUSER", "looker", "resetpass", ">other"])
        .await?;
    server.call(&["CLIENT", "KILL", "USER", "looker"]).await?;
    is_refused(&served.client.get("/cache?key=k:1").await?, "")?;
    served.stop().await
}
