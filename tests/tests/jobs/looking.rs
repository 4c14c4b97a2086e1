//! `cachectl top`, `bigkeys`, `doctor` and `generation show` through a service: as they are without one.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use cache_core::config::{Topology, ValkeyConfig};
use cache_core::{CacheClient as _, Ttl};
use cache_valkey::ValkeyClient;
use serde_json::Value;
use tests::{Server, ServerOptions, Version};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::LIMIT;
use super::remote::{Ran, command, ran, serve, serve_at};

/// Nobody is there: all that is looked into is looked into by the service.
const NOWHERE: &str = "127.0.0.1:1";

/// A server that holds keys of different sizes, one of them no text.
async fn filled() -> Result<Server> {
    let options = ServerOptions::new(Version::Valkey8)
        .line("maxmemory 100mb")
        .line("maxmemory-policy allkeys-lru");
    let server = Server::start(options).await?;
    let config = ValkeyConfig::new(Topology::single(server.address().parse()?));
    let client = ValkeyClient::connect(&config).await?;
    for number in 1..=20 {
        let value = vec![b'x'; number * 1_000];
        client
            .set(&format!("user:{number}"), value.into(), Ttl::secs(600))
            .await?;
    }
    let set = [&b"SET"[..], b"raw:\xff", &[b'y'; 50_000]];
    server.call(&set).await?;
    client.close().await?;
    Ok(server)
}

/// Both outputs, without the times and counters that differ from call to call.
fn alike(here: &Ran, there: &Ran, what: &[&str]) -> Result<()> {
    ensure!(here.code == there.code, "{what:?}: {here:?} {there:?}");
    ensure!(here.out == there.out, "{what:?}: {here:?} {there:?}");
    Ok(())
}

#[tokio::test]
async fn what_a_service_looks_into_looks_as_it_does_here() -> Result<()> {
    let server = filled().await?;
    let address = server.address();
    let folder = tempfile::tempdir()?;
    let (_service, url) = serve(&address, folder.path(), &[]).await?;
    let there = async |arguments: &[&str]| ran(NOWHERE, &[&["--server", &url], arguments].concat()).await;

    ran(&address, &["generation", "bump", "shop"]).await?;
    for what in [
        &["generation", "show", "shop"][..],
        &["generation", "show", "nobody"],
        &["generation", "show", "shop", "--json"],
        &["bigkeys", "--top", "5"],
        &["bigkeys", "--top", "5", "--json"],
        &["bigkeys", "--pattern", "user:1*", "--json"],
    ] {
        alike(&ran(&address, what).await?, &there(what).await?, what)?;
    }
    let shown = there(&["generation", "show", "shop", "--json"]).await?.last()?;
    ensure!(
        shown["generation"]
            .as_str()
            .is_some_and(|number| number.len() > 16),
        "{shown}"
    );
    let largest = there(&["bigkeys", "--top", "1"]).await?;
    ensure!(largest.out.contains(r"raw:\xff"), "{largest:?}");

    // What differs from look to look apart.
    let (here, served) = (
        ran(&address, &["top", "--once"]).await?,
        there(&["top", "--once"]).await?,
    );
    ensure!((here.code, served.code) == (0, 0), "{here:?} {served:?}");
    for (one, other) in here.out.lines().zip(served.out.lines()).take(3) {
        let names = |line: &str| line.split_whitespace().next().map(str::to_owned);
        ensure!(names(one) == names(other), "{here:?} {served:?}");
    }
    let what = ["top", "--count", "2", "--interval", "200ms", "--json"];
    let (here, served) = (ran(&address, &what).await?.lines()?, there(&what).await?.lines()?);
    ensure!(here.len() == 2 && served.len() == 2, "{here:?} {served:?}");
    for (one, other) in here.iter().zip(&served) {
        let names = |look: &Value| -> Option<Vec<String>> {
            let primary = look["primaries"][0].as_object()?;
            Some(look.as_object()?.keys().chain(primary.keys()).cloned().collect())
        };
        ensure!(
            names(one).is_some() && names(one) == names(other),
            "{one} {other}"
        );
        ensure!(
            one["primaries"][0]["keys"] == other["primaries"][0]["keys"],
            "{one} {other}"
        );
    }
    // Rates need two looks: the second goes on from the first.
    for looks in [here, served] {
        let worked = looks
            .iter()
            .map(|look| look["primaries"][0]["main_thread"].is_number());
        ensure!(worked.collect::<Vec<_>>() == [false, true], "{looks:?}");
    }

    let what = ["doctor", "--json", "--deadline", "4s"];
    let states = |ran: &Ran| -> Result<Vec<(String, String)>> {
        let found = ran.last()?;
        let findings = found["findings"].as_array().context("no findings")?.iter();
        // That calls are slow is no news on a busy machine.
        let told = findings.filter(|finding| finding["check"] != "latency");
        Ok(told
            .map(|finding| (finding["check"].to_string(), finding["state"].to_string()))
            .collect())
    };
    let (here, served) = (ran(&address, &what).await?, there(&what).await?);
    ensure!(states(&here)?.len() == 15, "{here:?}");
    ensure!(states(&here)? == states(&served)?, "{here:?} {served:?}");
    let text = there(&["doctor"]).await?;
    ensure!(
        text.out.lines().any(|line| line.starts_with("ok       tcp")) && text.out.contains(" skipped\n"),
        "{text:?}"
    );

    for (what, code, says) in [
        (&["doctor", "--deadline", "5s"][..], 2, "deadline_ms"),
        (&["bigkeys", "--samples", "30000"], 2, "samples"),
    ] {
        let refused = there(what).await?;
        ensure!(
            refused.code == code && refused.err.contains(says),
            "{what:?}: {refused:?}"
        );
    }

    // What is broken has the exit code that it has here.
    drop(server);
    for what in [&["doctor"][..], &["top", "--once"]] {
        let gone = there(what).await?;
        ensure!([3, 4].contains(&gone.code), "{what:?}: {gone:?}");
        ensure!(ran(&address, what).await?.code == 4, "{what:?}");
    }
    Ok(())
}

#[tokio::test]
async fn top_goes_on_where_the_service_was_started_anew() -> Result<()> {
    let server = filled().await?;
    let address = server.address();
    let folder = tempfile::tempdir()?;
    let (mut service, url) = serve(&address, folder.path(), &[]).await?;
    let mut top = command(
        NOWHERE,
        &["--server", &url, "top", "--json", "--interval", "200ms"],
    )
    .await?
    .stdout(Stdio::piped())
    .stderr(Stdio::null())
    .spawn()?;
    let mut looks = BufReader::new(top.stdout.take().context("its output")?).lines();
    let mut next = async || -> Result<bool> {
        let line = tokio::time::timeout(LIMIT, looks.next_line()).await??;
        let look: Value = serde_json::from_str(&line.context("it has ended")?)?;
        Ok(look["primaries"][0]["main_thread"].is_number())
    };
    ensure!(!next().await? && next().await?);

    service.kill().await?;
    let listen = url.strip_prefix("http://").context("an address")?;
    // Other secrets than before: the reading that `top` has is foreign to it.
    let (_service, again) = serve_at(listen, &address, folder.path(), &[]).await?;
    ensure!(again == url);
    // Looks of before may be on their way; then comes a first one, and then rates.
    while next().await? {}
    ensure!(next().await?);
    top.kill().await?;
    Ok(())
}
