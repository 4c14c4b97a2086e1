//! No call outlives its deadline, whatever happens to the server and the way to it: stall, cut, refusal,
//! slowness, crash, one after the other under load.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cache_core::CacheClient;
use cache_valkey::ValkeyClient;
use tests::{Proxy, Server, ServerOptions, Version};

use crate::load::{Load, Loss};
use crate::setup::single;

const DEADLINE: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_outlives_its_deadline_whatever_happens() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let proxy = Proxy::start(server.address()).await?;
    let mut config = single(&proxy.address())?;
    config.read_timeout = DEADLINE;
    config.write_timeout = DEADLINE;
    config.dial_timeout = Duration::from_secs(1);
    let client: Arc<dyn CacheClient> = Arc::new(ValkeyClient::connect(&config).await?);
    let keys: Vec<String> = (0..16).map(|number| format!("deadline:{number}")).collect();
    let load = Load::start(&client, &keys, Loss::Acknowledged)?;
    load.until_succeeded(200).await?;

    // The network swallows everything.
    proxy.pause();
    load.until_failed(200).await?;
    proxy.resume();
    load.until_succeeded(200).await?;
    // The server stalls.
    server.pause()?;
    load.until_failed(200).await?;
    server.resume()?;
    load.until_succeeded(200).await?;
    // Connections are cut and come back.
    for _ in 0..5 {
        proxy.cut();
        load.until_succeeded(50).await?;
    }
    // Nothing listens any more.
    proxy.refuse().await;
    load.until_failed(200).await?;
    proxy.accept().await?;
    load.until_succeeded(200).await?;
    // Every answer comes too late, each way adding half of more than there is.
    proxy.delay(DEADLINE);
    load.until_failed(50).await?;
    proxy.delay(Duration::ZERO);
    load.until_succeeded(200).await?;
    // The server crashes and comes back empty.
    server.kill()?;
    load.until_failed(200).await?;
    server.restart().await?;
    load.until_succeeded(200).await?;

    let report = load.stop().await?;
    println!("deadline {DEADLINE:?}: {}", report.summary());
    report.check(DEADLINE);
    Ok(())
}
