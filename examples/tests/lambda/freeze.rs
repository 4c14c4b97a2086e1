//! A frozen process misses changes and the end of its connections. The first invocation after the thaw answers right.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::{Proxy, Server, ServerOptions, Version};

use crate::process::Process;
use crate::runtime_api::RuntimeApi;

const EVENT: &str = r#"{"tenant":"acme"}"#;
const KEY: &str = "plans:v1:acme";

/// Longer than the client may go without a sign that it runs before it doubts what it knows.
const FROZEN: Duration = Duration::from_secs(2);

/// How long the first invocation after a thaw may take.
const BOUND: Duration = Duration::from_secs(2);

/// What happens to the connections while the process is frozen.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Connections {
    /// They stay as they are.
    Open,
    /// The server kills them, and the machine of the process is told so.
    Killed,
    /// The server kills them, and the process never hears of it.
    Forgotten,
}

/// Freezes a function that holds a copy of a key, changes the key, and looks at the first answer after the thaw.
async fn first_answer_is_right(connections: Connections, rounds: u32) -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let proxy = Proxy::start(server.address()).await?;
    let address = proxy.address();
    let api = RuntimeApi::start().await?;
    let function = Process::start(
        &api,
        &[
            ("CACHE_ADDRS", &address),
            ("CACHE_CLIENT_NAME", "function"),
            ("CACHE_L1_MAX_BYTES", "8MiB"),
            ("CACHE_L1_TTL", "1h"),
            ("CACHE_OP_TIMEOUT", "2s"),
        ],
    )?;
    server.call(&["SET", KEY, "plan-0"]).await?;
    for round in 1..=rounds {
        api.invoke(EVENT).await?;
        let before = api.invoke(EVENT).await?;
        ensure!(before["served_from"] == "near", "{before}");
        function.freeze().await?;
        if connections == Connections::Forgotten {
            proxy.silence_open();
        }
        if connections != Connections::Open {
            server
                .call(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
                .await?;
        }
        let plan = format!("plan-{round}");
        server.call(&["SET", KEY, &plan]).await?;
        #[expect(clippy::disallowed_methods, reason = "the time that passes is what is tried")]
        let begun = Instant::now();
        tokio::time::sleep(FROZEN).await;
        ensure!(begun.elapsed() >= FROZEN);
        // The event is there before the process is, so that nothing gives it time to look around first.
        let id = api.send(EVENT)?;
        #[expect(clippy::disallowed_methods, reason = "real time is what is bounded")]
        let thawed = Instant::now();
        function.thaw().await?;
        let after = api.answer_to(&id).await?;
        let took = thawed.elapsed();
        ensure!(
            after["plan"] == plan.as_str(),
            "round {round}: {after}, after {took:?}"
        );
        ensure!(took < BOUND, "round {round}: it took {took:?}");
        let again = api.invoke(EVENT).await?;
        ensure!(again["plan"] == plan.as_str(), "round {round}: {again}");
    }
    let (status, log) = function.stop().await?;
    ensure!(status.success(), "{status}: {log}");
    ensure!(!log.contains("ERROR"), "{log}");
    Ok(())
}

#[tokio::test]
async fn change_while_frozen_is_seen_by_the_first_invocation() -> Result<()> {
    first_answer_is_right(Connections::Open, 3).await
}

#[tokio::test]
async fn killed_connections_do_not_serve_stale_values_after_a_thaw() -> Result<()> {
    first_answer_is_right(Connections::Killed, 3).await
}

#[tokio::test]
async fn forgotten_connections_do_not_serve_stale_values_after_a_thaw() -> Result<()> {
    first_answer_is_right(Connections::Forgotten, 3).await
}
