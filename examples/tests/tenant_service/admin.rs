//! The administration that the service mounts: who may use it, where it is, what becomes of the service's own values,
//! and that it stops with the service.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::http::Request;
use crate::service::{ADMIN, Service, refusal};

/// How long a test waits for something that must happen.
const LIMIT: Duration = Duration::from_secs(30);

const ALL: &str = "/cache/pattern?pattern=tenant-service:v1:*";

fn as_acme(path: &str) -> Request {
    Request::get(path).header("x-api-key", "demo-acme")
}

fn demo(path: &str) -> Request {
    Request::get(path).header("authorization", "Bearer demo-admin")
}

/// Where the settings of the tenant with this API key come from.
async fn served_from(service: &Service, api_key: &str) -> String {
    let request = Request::get("/settings").header("x-api-key", api_key);
    let answer = service.ask(request).await;
    answer.header("x-cache").unwrap_or_default().to_owned()
}

/// Removes by pattern through the administration, and waits until it has; how much it removed.
async fn purge(service: &Service, path: &str) -> Result<u64> {
    let started = service.ask_admin(demo(path).method("DELETE")).await;
    assert_eq!(started.status, 202, "{}", started.body);
    let id = started.json()["id"].as_str().context("no id")?.to_owned();
    let job = until(LIMIT, "the end of the removal", || async {
        let job = service.ask_admin(demo(&format!("/cache/jobs/{id}"))).await.json();
        Ok(job["ended"].is_string().then_some(job))
    })
    .await?;
    assert_eq!(job["state"], "complete", "{job}");
    job["progress"]["removed"].as_u64().context("no count")
}

#[tokio::test]
async fn without_a_file_of_actors_there_is_none() -> Result<()> {
    let service = Service::start(&[]).await?;
    assert_eq!(service.admin, None);
    let (code, said) = refusal(&[("ADMIN_LISTEN", "127.0.0.1:0")]).await?;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--admin-tokens"), "{said}");
    Ok(())
}

#[tokio::test]
async fn it_has_no_public_address() -> Result<()> {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let (code, said) = refusal(&[ADMIN[0], ("ADMIN_LISTEN", address)]).await?;
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("needs TLS") && said.contains("ADMIN_LISTEN"),
            "{said}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_file_of_actors_stops_the_start_and_is_not_shown() -> Result<()> {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wrong-actors.toml");
    std::fs::write(
        &file,
        "[actors.ops]\ntokens = [{ hash = \"a-token\" }]\ngrants = {}\n",
    )?;
    let file = file.to_str().context("no text")?;
    let (code, said) = refusal(&[("ADMIN_TOKENS", file)]).await?;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("ADMIN_TOKENS") && said.contains("actors.ops.tokens[0].hash"),
        "{said}"
    );
    assert!(!said.contains("a-token"), "{said}");
    Ok(())
}

#[tokio::test]
async fn nobody_gets_in_without_a_token_and_no_caller_of_the_service_reaches_it() -> Result<()> {
    let service = Service::start(&ADMIN).await?;
    served_from(&service, "demo-acme").await;
    for (method, path) in [
        ("GET", "/cache"),
        ("GET", "/cache/keys"),
        ("DELETE", "/cache?key=tenant-service:v1:a"),
        ("DELETE", ALL),
        ("POST", "/cache/namespaces/tenant-service/generation"),
        ("GET", "/metrics"),
    ] {
        let bare = Request::get(path).method(method);
        for request in [
            bare.clone(),
            bare.clone().header("authorization", "Bearer demo-operator"),
            bare.clone().header("x-api-key", "demo-operator"),
        ] {
            let refused = service.ask_admin(request.clone()).await;
            assert_eq!(refused.status, 401, "{request:?}: {}", refused.body);
        }
    }
    // The routes are not the service's, whoever asks.
    // `/metrics` is there for both: the service's own, which has no key and no tenant in it.
    for path in ["/cache/keys", "/openapi.json", "/cache/jobs"] {
        let request = demo(path).header("x-api-key", "demo-operator");
        assert_eq!(service.ask(request).await.status, 404, "{path}");
    }
    assert_eq!(served_from(&service, "demo-acme").await, "hit");
    Ok(())
}

#[tokio::test]
async fn a_purge_removes_what_the_service_cached_and_not_what_it_counts() -> Result<()> {
    let service = Service::start(&ADMIN).await?;
    assert_eq!(served_from(&service, "demo-acme").await, "miss");
    assert_eq!(served_from(&service, "demo-acme").await, "hit");
    for beyond in ["*", "tenant-*", "tenant-usage:v1:*"] {
        let path = format!("/cache/pattern?pattern={beyond}");
        let refused = service.ask_admin(demo(&path).method("DELETE")).await;
        assert_eq!(refused.status, 403, "{beyond}: {}", refused.body);
    }
    // The API key, the settings and their generation.
    assert_eq!(purge(&service, ALL).await?, 3);
    assert_eq!(served_from(&service, "demo-acme").await, "miss");
    let usage = service.ask(as_acme("/usage")).await.json();
    assert_eq!(usage["requests"], 4, "no counter was reset");
    Ok(())
}

/// The near tier, the prefix and the primaries are those of the service.
#[tokio::test]
async fn on_a_cluster_a_purge_reaches_the_near_tier_and_stays_within_the_prefix() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let addresses = cluster.addresses().join(",");
    let mut variables = ADMIN.to_vec();
    variables.extend([
        ("CACHE_ADDRS", addresses.as_str()),
        ("CACHE_MODE", "cluster"),
        ("CACHE_KEY_PREFIX", "eu:"),
        ("CACHE_L1_MAX_BYTES", "8MiB"),
    ]);
    let service = Service::start(&variables).await?;
    assert!(service.greeting.contains("Tiered"), "{}", service.greeting);
    // A second one, whose near tier hears of it from the servers alone. Each asks for a tenant of its own: a value that
    // one has loaded again is a hit for the other.
    let other = Service::start(&variables).await?;
    let pairs = [(&service, "demo-operator"), (&other, "demo-globex")];
    let foreign = ["tenant-service:v1:a", "us:tenant-service:v1:b", "eu:other:c"];
    for key in foreign {
        on_its_primary(&cluster, &["SET", key, "x"]).await?;
    }
    for (service, api_key) in pairs {
        until(LIMIT, "a hit", || async {
            Ok((served_from(service, api_key).await == "hit").then_some(()))
        })
        .await?;
    }
    // Two API keys, two settings, two generations.
    assert_eq!(purge(&service, ALL).await?, 6);
    for (service, api_key) in pairs {
        until(LIMIT, "a miss", || async {
            Ok((served_from(service, api_key).await == "miss").then_some(()))
        })
        .await?;
    }
    for key in foreign {
        assert_eq!(on_its_primary(&cluster, &["GET", key]).await?, "x", "{key}");
    }
    Ok(())
}

/// Asks the primaries until one does not send elsewhere.
async fn on_its_primary(cluster: &Cluster, command: &[&str]) -> Result<String> {
    for node in cluster.nodes() {
        if let Ok(reply) = node.call(command).await {
            return Ok(reply.text());
        }
    }
    bail!("no primary takes {command:?}")
}

#[tokio::test]
#[cfg(unix)]
async fn it_ends_with_the_service_also_while_a_removal_runs_and_is_followed() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    server
        .call(&["DEBUG", "POPULATE", "5000", "tenant-service:v1:filler"])
        .await?;
    let address = server.address();
    let mut variables = ADMIN.to_vec();
    variables.push(("CACHE_ADDRS", &address));
    let service = Service::start(&variables).await?;
    let slow = format!("{ALL}&rate=100");
    let started = service.ask_admin(demo(&slow).method("DELETE")).await;
    let id = started.json()["id"].as_str().context("no id")?.to_owned();
    let admin = service.admin.clone().context("no administration")?;
    let mut events = TcpStream::connect(&admin).await?;
    let request = format!(
        "GET /cache/jobs/{id}/events HTTP/1.1\r\nhost: {admin}\r\nauthorization: Bearer demo-admin\r\n\r\n"
    );
    events.write_all(request.as_bytes()).await?;
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("event: ") {
        assert!(
            events.read_buf(&mut seen).await? > 0,
            "{}",
            String::from_utf8_lossy(&seen)
        );
    }
    let log = service.stop().await?;
    assert!(log.contains("stopped"), "{log}");
    assert!(!log.contains("cut"), "{log}");
    // The stream has an end.
    tokio::time::timeout(LIMIT, events.read_to_end(&mut seen)).await??;
    assert!(TcpStream::connect(&admin).await.is_err());
    let left = server.call(&["DBSIZE"]).await?.integer();
    assert!(left.is_some_and(|left| left > 1_000), "{left:?}");
    Ok(())
}
