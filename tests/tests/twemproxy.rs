//! A cache through twemproxy: it shards keys over its servers, ends the connection when it reads `HELLO`, and hides its
//! servers from everything that asks for them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_admin::{Doctor, Health};
use cache_core::config::{OnError, Topology, ValkeyConfig};
use cache_core::conformance::{SCENARIOS, Subject, Time, run};
use cache_core::{CacheClient as _, CacheConfig, CacheError, Ttl, Unavailability};
use cache_valkey::ValkeyClient;
use tests::twemproxy::Twemproxy;
use tests::{Server, ServerOptions, Version};

/// What a proxy rules out, and why.
const NOT_THROUGH_A_PROXY: [(&str, &str); 4] = [
    (
        "longest_key_is_accepted",
        "a key has to fit into one of the proxy's buffers of 16 KiB",
    ),
    (
        "ping_fails_while_a_primary_is_gone",
        "the proxy answers PING itself",
    ),
    (
        "key_of_another_type_is_rejected_by_every_read",
        "runs on the servers themselves",
    ),
    (
        "key_of_another_type_is_replaced_and_deleted",
        "runs on the servers themselves",
    ),
];

async fn servers(test: &str) -> Result<Option<(Vec<Server>, Twemproxy)>> {
    let mut servers = Vec::new();
    for version in [Version::Valkey8, Version::Redis6] {
        servers.push(Server::start(ServerOptions::new(version)).await?);
    }
    let addresses: Vec<String> = servers.iter().map(Server::address).collect();
    let proxy = Twemproxy::start_or_skip(test, &addresses).await?;
    Ok(proxy.map(|proxy| (servers, proxy)))
}

fn config(address: &str) -> Result<ValkeyConfig> {
    Ok(ValkeyConfig::new(Topology::single(address.parse()?)))
}

#[test]
fn the_contract_holds_through_a_proxy() -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let Some((_servers, proxy)) = runtime.block_on(servers("the_contract_holds_through_a_proxy"))? else {
        return Ok(());
    };
    let config = config(proxy.address())?;
    for scenario in SCENARIOS {
        if NOT_THROUGH_A_PROXY.iter().any(|(name, _)| *name == scenario.name) {
            continue;
        }
        let subject = async {
            let client = ValkeyClient::connect(&config).await;
            Subject::new(client.unwrap_or_else(|error| panic!("{error}")))
                .with_drops(500)
                .with_load(10, 100)
        };
        run(scenario.name, Time::Real, subject);
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_down_behind_a_proxy_is_unavailable() -> Result<()> {
    let Some((servers, proxy)) = servers("a_server_that_is_down_behind_a_proxy_is_unavailable").await? else {
        return Ok(());
    };
    let client = ValkeyClient::connect(&config(proxy.address())?).await?;
    let bypassing = CacheConfig::builder()
        .valkey(config(proxy.address())?)
        .on_error(OnError::Bypass);
    let bypassing = cache_stack::assemble(&bypassing.build()?).await?;
    let keys: Vec<String> = (0..40).map(|number| format!("key:{number}")).collect();
    for key in &keys {
        client.set(key, "value".into(), Ttl::secs(60)).await?;
    }
    servers[0].kill()?;
    let (mut hits, mut refused) = (0, 0);
    for key in &keys {
        match client.get(key).await {
            Ok(_) => hits += 1,
            // The first of them may meet the connection that the proxy has just lost.
            Err(CacheError::Unavailable { reason, .. }) => {
                assert!(
                    matches!(reason, Unavailability::NotReady | Unavailability::Lost),
                    "{reason}"
                );
                refused += 1;
            }
            Err(error) => anyhow::bail!("{error}"),
        }
        if let Err(error) = bypassing.client.get(key).await {
            assert!(error.is_miss(), "{error}");
        }
    }
    assert!(hits > 0 && refused > 0, "{hits} hits, {refused} refused");
    servers[0].restart().await?;
    tests::until(
        Duration::from_secs(20),
        "all keys to be written again",
        || async {
            for key in &keys {
                client.set(key, "value".into(), Ttl::secs(60)).await?;
            }
            Ok(Some(()))
        },
    )
    .await
}

#[tokio::test]
async fn the_doctor_names_a_proxy_as_such() -> Result<()> {
    let Some((_servers, proxy)) = servers("the_doctor_names_a_proxy_as_such").await? else {
        return Ok(());
    };
    let config = CacheConfig::builder().valkey(config(proxy.address())?).build()?;
    let diagnosis = Doctor::new(config).examine().await;
    let primaries = diagnosis.of("primaries").context("a check of primaries")?;
    assert_eq!(primaries.state, Health::Warn, "{diagnosis:#?}");
    assert!(
        primaries.seen.contains("is a proxy without HELLO"),
        "{}",
        primaries.seen
    );
    let worse: Vec<_> = diagnosis
        .findings
        .iter()
        .filter(|finding| finding.state > Health::Ok)
        .collect();
    assert_eq!(worse, [primaries], "nothing else is wrong");
    assert!(
        diagnosis
            .findings
            .iter()
            .all(|finding| !finding.seen.contains("connection lost"))
    );
    Ok(())
}
