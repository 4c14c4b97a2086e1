//! What a server refuses for its own state: every line of the table in `docs/errors.md`, and a real server that is full.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use cache_core::config::{OnError, Topology, ValkeyConfig};
use cache_core::{CacheClient as _, CacheConfig, CacheError, Ttl};
use cache_layers::guarded::BreakerState;
use cache_stack::Stack;
use tests::{Answer, FakeServer, Server, ServerOptions, Version};

const TTL: Ttl = Ttl::secs(60);

/// One line of the table.
#[derive(Debug)]
struct Line {
    said: String,
    kind: String,
    is_repeated: bool,
    is_bypassed: bool,
    counts: bool,
}

fn table() -> Result<Vec<Line>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md");
    let page = std::fs::read_to_string(page)?;
    let lines = page.lines().filter(|line| line.starts_with("| `"));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, said, kind, again, bypass, circuit, _] = cells.as_slice() else {
                anyhow::bail!("not a line of five cells: {line}");
            };
            Ok(Line {
                said: said.split('`').nth(1).unwrap_or_default().to_owned(),
                kind: (*kind).to_owned(),
                is_repeated: *again == "yes",
                is_bypassed: *bypass == "miss",
                counts: *circuit == "counts",
            })
        })
        .collect()
}

async fn stack(address: &str, on_error: OnError) -> Result<Stack> {
    let servers = ValkeyConfig::new(Topology::single(address.parse()?)).with_max_retries(1);
    let config = CacheConfig::builder()
        .valkey(servers)
        .on_error(on_error)
        .build()?;
    Ok(cache_stack::assemble(&config).await?)
}

#[tokio::test]
async fn every_line_of_the_table_of_refusals_is_true() -> Result<()> {
    let table = table()?;
    ensure!(table.len() >= 16, "the page has lost its table");
    for line in table {
        let said = format!("{} said a test", line.said);
        let fake = FakeServer::start(move |_| Answer::refusal(&said)).await?;

        let failing = stack(&fake.address(), OnError::Fail).await?;
        let error = failing.client.get("key").await.unwrap_err();
        assert_eq!(error.kind(), line.kind, "{line:?}: {error}");
        assert_eq!(
            fake.asked() > 1,
            line.is_repeated,
            "{line:?}: asked {} times",
            fake.asked()
        );
        let guard = failing.guard.as_ref().context("there is a guard")?;
        assert_eq!(guard.stats().failures > 0, line.counts, "{line:?}");

        let bypassing = stack(&fake.address(), OnError::Bypass).await?;
        let cache = &bypassing.client;
        let is_as_said = |result: Result<(), CacheError>| match result {
            Ok(()) => line.is_bypassed,
            Err(CacheError::Miss) => line.is_bypassed,
            Err(error) => !line.is_bypassed && error.kind() == line.kind,
        };
        assert!(is_as_said(cache.get("key").await.map(drop)), "{line:?}");
        assert!(is_as_said(cache.get_many(&["key"]).await.map(drop)), "{line:?}");
        assert!(is_as_said(cache.exists(&["key"]).await.map(drop)), "{line:?}");
        assert!(is_as_said(cache.ttl("key").await.map(drop)), "{line:?}");
        assert!(
            is_as_said(cache.set("key", "value".into(), TTL).await),
            "{line:?}"
        );
        assert!(
            is_as_said(cache.set_many(&[("key", "value".into())], TTL).await),
            "{line:?}"
        );
        assert!(is_as_said(cache.del(&["key"]).await.map(drop)), "{line:?}");
        assert!(is_as_said(cache.expire("key", TTL).await.map(drop)), "{line:?}");
        for error in [
            cache.incr("key").await.unwrap_err(),
            cache.incr_by("key", 2, TTL).await.unwrap_err(),
            cache.set_if_absent("key", "value".into(), TTL).await.unwrap_err(),
            cache
                .compare_and_set("key", b"a", "b".into(), TTL)
                .await
                .unwrap_err(),
            cache.compare_and_delete("key", b"a").await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), line.kind, "{line:?}: {error}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_full_server_costs_no_caller_an_error_and_is_read_as_before() -> Result<()> {
    for version in [Version::Valkey8, Version::Redis6] {
        let server = Server::start(ServerOptions::new(version)).await?;
        server.call(&["SET", "old", "value"]).await?;
        server.call(&["CONFIG", "SET", "maxmemory", "1"]).await?;

        let bypassing = stack(&server.address(), OnError::Bypass).await?;
        let cache = &bypassing.client;
        for turn in 0..50 {
            cache.set("key", "value".into(), TTL).await?;
            cache
                .set_many(&[("a", "1".into()), ("b", "2".into())], TTL)
                .await?;
            assert!(cache.get("key").await.unwrap_err().is_miss(), "{turn}");
            assert_eq!(cache.get("old").await?, "value", "{turn}");
        }
        let guard = bypassing.guard.as_ref().context("there is a guard")?;
        assert_eq!(guard.state(), BreakerState::Closed);
        assert_eq!(guard.stats().bypassed, 100);

        // By a command, and by a script.
        for error in [
            cache.incr("counter").await.unwrap_err(),
            cache.incr_by("counter", 1, TTL).await.unwrap_err(),
        ] {
            assert!(error.is_backend_state(), "{version:?}: {error}");
            assert!(error.to_string().contains("OOM"), "{version:?}: {error}");
        }
        server.call(&["CONFIG", "SET", "maxmemory", "0"]).await?;
        cache.set("key", "value".into(), TTL).await?;
        assert_eq!(cache.get("key").await?, "value");
    }
    Ok(())
}
