//! What lies between: names that lead nowhere, slow lines, clocks that differ, and something that swallows what the
//! server tells.

use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_admin::Health;
use cache_core::clock;
use tests::{
    Answer, Certificates, Cluster, ClusterOptions, FakeServer, Proxy, Server, ServerOptions, Tls, Version,
};

use super::{LIMIT, cluster, doctor, examine, found, only, single, sound, state};

#[tokio::test]
async fn a_name_without_an_address_is_named_by_names() -> Result<()> {
    let diagnosis = examine(single("no-such-host.invalid:6379")?).await?;
    let seen = only(&diagnosis, "names", Health::Fail);
    assert!(seen.contains("no-such-host.invalid"), "{seen}");
    Ok(())
}

#[tokio::test]
async fn one_of_several_addresses_that_leads_nowhere_is_a_warning_of_names_or_of_tcp() -> Result<()> {
    let servers = Cluster::start(ClusterOptions::new(3, 0).node(sound())).await?;
    let well = servers.addresses()[0].clone();
    let unknown = examine(cluster(&[well.clone(), "no-such-host.invalid:6379".to_owned()])?).await?;
    let seen = only(&unknown, "names", Health::Warn);
    assert!(
        seen.contains("no-such-host.invalid") && seen.contains("127.0.0.1 is an address"),
        "{seen}"
    );

    let nobody = Proxy::start(&*well).await?;
    nobody.refuse().await;
    let silent = examine(cluster(&[nobody.address(), well])?).await?;
    let seen = only(&silent, "tcp", Health::Warn);
    assert!(seen.contains(&nobody.address()), "{seen}");
    Ok(())
}

#[tokio::test]
async fn nobody_at_the_address_is_named_by_tcp() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    server.kill()?;
    let diagnosis = doctor(single(&server.address())?)?.examine().await;
    let seen = only(&diagnosis, "tcp", Health::Fail);
    assert!(seen.contains(&server.address()), "{seen}");
    Ok(())
}

#[tokio::test]
async fn a_server_that_hangs_is_named_within_the_deadline() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    server.pause()?;
    let started = clock::now();
    let diagnosis = examine(single(&server.address())?).await;
    let elapsed = clock::now() - started;
    server.resume()?;
    // It accepts connections, so that nothing before has a name for it.
    only(&diagnosis?, "primaries", Health::Fail);
    assert!(elapsed < LIMIT, "{elapsed:?}");
    Ok(())
}

#[tokio::test]
async fn a_server_that_speaks_only_tls_and_one_that_does_not_are_told_as_such() -> Result<()> {
    let certificates = Certificates::generate()?;
    let server = Server::start(sound().tls(Tls::new(&certificates))).await?;
    let diagnosis = examine(single(&server.address())?).await?;
    let seen = only(&diagnosis, "primaries", Health::Fail);
    assert!(seen.contains("TLS"), "{seen}");

    let server = Server::start(sound()).await?;
    let tls = cache_core::config::TlsConfig::new().with_ca_pem(certificates.ca.clone());
    let diagnosis = examine(single(&server.address())?.with_tls(tls)).await?;
    let seen = only(&diagnosis, "primaries", Health::Fail);
    assert!(
        seen.contains("does not answer the TLS handshake; set CACHE_TLS_ENABLED=false"),
        "{seen}"
    );
    Ok(())
}

#[tokio::test]
async fn a_slow_line_is_named_by_latency_with_how_slow_it_is() -> Result<()> {
    let server = Server::start(sound()).await?;
    let line = Proxy::start(server.address()).await?;
    line.delay(Duration::from_millis(12));
    let diagnosis = examine(single(&line.address())?).await?;
    assert_eq!(found(&diagnosis), [], "{diagnosis:#?}");
    assert_eq!(state(&diagnosis, "latency")?, Health::Warn);
    let latency = diagnosis.of("latency").context("no such check")?;
    // Both ways, for each of the two kinds of calls.
    let medians: Vec<f64> = latency
        .seen
        .split("p50 ")
        .skip(1)
        .filter_map(|rest| rest.split(' ').next()?.parse().ok())
        .collect();
    assert!(
        medians.len() == 2 && medians.iter().all(|median| *median >= 24.0),
        "{latency:?}"
    );
    assert!(latency.advice.is_some());
    Ok(())
}

/// Sets the clock of a server by so many seconds, as its clients see it: `TIME` answers two numbers, the first of ten
/// digits.
fn set_clock(line: &Proxy, ahead: i64) {
    const TIME: &[u8] = b"*2\r\n$10\r\n";
    line.alter(move |bytes| {
        if !bytes.starts_with(TIME) {
            return;
        }
        let Some(seconds) = bytes.get_mut(TIME.len()..TIME.len() + 10) else {
            return;
        };
        let now = std::str::from_utf8(seconds)
            .ok()
            .and_then(|text| text.parse::<i64>().ok());
        if let Some(now) = now {
            seconds.copy_from_slice(format!("{:010}", now + ahead).as_bytes());
        }
    });
}

#[tokio::test]
async fn a_clock_that_differs_is_named_by_clocks_with_direction_and_amount() -> Result<()> {
    let server = Server::start(sound()).await?;
    let line = Proxy::start(server.address()).await?;
    for (ahead, words) in [(90, "ahead"), (-90, "behind")] {
        set_clock(&line, ahead);
        let diagnosis = examine(single(&line.address())?).await?;
        let seen = only(&diagnosis, "clocks", Health::Warn);
        let millis = seen
            .split(" is ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
        assert!(seen.contains(words) && seen.contains(&line.address()), "{seen}");
        assert!(
            millis.is_some_and(|millis| (millis - 90_000.0).abs() < 2_000.0),
            "{seen}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn something_between_that_swallows_invalidations_is_found_by_near_tier() -> Result<()> {
    let server = Server::start(sound()).await?;
    let line = Proxy::start(server.address()).await?;
    line.alter(|bytes| {
        const NEWS: &[u8] = b"invalidate";
        let found = bytes.windows(NEWS.len()).position(|window| window == NEWS);
        if let Some(start) = found {
            // News that no client knows.
            bytes[start..start + NEWS.len()].copy_from_slice(b"unheard-of");
        }
    });
    let diagnosis = examine(single(&line.address())?).await?;
    let seen = only(&diagnosis, "near-tier", Health::Fail);
    assert!(seen.contains("old value"), "{seen}");
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_loading_is_told_by_primaries() -> Result<()> {
    let loading = FakeServer::start(|_| Answer::refusal("LOADING the data set is read")).await?;
    let diagnosis = examine(single(&loading.address())?).await?;
    let failed = found(&diagnosis);
    assert!(
        failed.iter().any(|(_, state)| *state == Health::Fail),
        "{diagnosis:#?}"
    );
    let told = diagnosis
        .findings
        .iter()
        .any(|finding| finding.seen.to_lowercase().contains("loading"));
    assert!(told, "{diagnosis:#?}");
    Ok(())
}
