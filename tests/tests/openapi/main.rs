//! The HTTP service against its own description: requests made up from `/openapi.json`, good ones and bad ones,
//! to the program as it is run, and no answer that the description does not know.
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

use self::schemathesis::Schemathesis;
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

async fn drive(name: &str, variables: &[(&str, String)]) -> Result<()> {
    let Some(schemathesis) = Schemathesis::find_or_skip(name).await? else {
        return Ok(());
    };
    let service = Service::start(variables).await?;
    let ran = schemathesis.run(&service).await?;
    let log = service.stop().await?;
    ensure!(ran.passed, "{}\n\nThe service said:\n{log}", ran.report);
    Ok(())
}

#[tokio::test]
async fn the_embedded_cache_answers_as_described() -> Result<()> {
    drive("the_embedded_cache_answers_as_described", &[]).await
}

#[tokio::test]
async fn a_server_answers_as_described() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    fill(Topology::single(server.address().parse()?)).await?;
    let variables = [("CACHE_ADDRS", server.address())];
    drive("a_server_answers_as_described", &variables).await
}
