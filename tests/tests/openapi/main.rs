//! The HTTP service against its own description: requests made up from `/openapi.json`, good ones and bad ones,
//! to the program as it is run, and no answer that the description does not know.
//!
//! Each way of making up requests has a service of its own, so that they can be gone at the same time. Limits are gone on a
//! server only: what is beyond them is refused before any cache is asked.
//!
//! The requests are made by schemathesis, a program in another language, which is installed under the target folder. Where
//! that cannot be, the tests are reported as skipped.

mod schemathesis;
mod service;

use anyhow::{Result, ensure};
use cache_core::config::{Topology, ValkeyConfig};
use cache_core::{CacheClient as _, Ttl};
use cache_valkey::ValkeyClient;
use tests::{Server, ServerOptions, Version};

use self::schemathesis::{Schemathesis, Way};
use self::service::Service;

/// What the servers hold before the first request.
async fn fill(topology: Topology) -> Result<()> {
    let client = ValkeyClient::connect(&ValkeyConfig::new(topology)).await?;
    for number in 0..200 {
        let key = format!("k:{number}");
        client.set(&key, "value".into(), Ttl::Forever).await?;
    }
    client.close().await?;
    Ok(())
}

async fn drive(name: &str, variables: &[(&str, String)], way: Way) -> Result<()> {
    let Some(schemathesis) = Schemathesis::find_or_skip(name).await? else {
        return Ok(());
    };
    let service = Service::start(variables).await?;
    let ran = schemathesis.run(&service, way).await?;
    let log = service.stop().await?;
    ensure!(ran.passed, "{}\n\nThe service said:\n{log}", ran.report);
    Ok(())
}

async fn drive_on_server(name: &str, way: Way) -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    fill(Topology::single(server.address().parse()?)).await?;
    drive(name, &[("CACHE_ADDRS", server.address())], way).await
}

#[tokio::test]
async fn the_embedded_cache_answers_as_described() -> Result<()> {
    drive("the_embedded_cache_answers_as_described", &[], Way::Random).await
}

#[tokio::test]
async fn a_server_answers_as_described() -> Result<()> {
    drive_on_server("a_server_answers_as_described", Way::Random).await
}

#[tokio::test]
async fn at_every_limit_of_a_removal_it_is_answered_as_described() -> Result<()> {
    let name = "at_every_limit_of_a_removal_it_is_answered_as_described";
    drive_on_server(name, Way::LimitsOfPatterns).await
}

#[tokio::test]
async fn at_every_other_limit_it_is_answered_as_described() -> Result<()> {
    let name = "at_every_other_limit_it_is_answered_as_described";
    drive_on_server(name, Way::OtherLimits).await
}

#[tokio::test]
async fn what_follows_from_an_answer_is_answered_as_described() -> Result<()> {
    drive_on_server(
        "what_follows_from_an_answer_is_answered_as_described",
        Way::Chains,
    )
    .await
}
