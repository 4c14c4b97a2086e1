//! The service while its cache cannot be reached: it answers from its database.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::http::Request;
use crate::service::{Service, refusal};

/// An address at which nobody listens: it was free a moment ago.
fn nobody() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

#[tokio::test]
async fn settings_are_served_and_updated_while_the_cache_is_away() -> Result<()> {
    let addresses = nobody()?;
    let service = Service::start(&[("CACHE_ADDRS", &addresses), ("CACHE_STARTUP", "degrade")]).await?;
    let settings = || Request::get("/settings").header("x-api-key", "demo-acme");

    let shown = service.ask(settings()).await;
    assert_eq!(
        (shown.status, shown.header("x-cache")),
        (200, Some("miss")),
        "{}",
        shown.body
    );
    let new = r#"{"theme":"dark","locale":"en-GB","seats":6}"#;
    assert_eq!(service.ask(settings().method("PUT").json(new)).await.status, 200);
    assert_eq!(service.ask(settings()).await.json()["settings"]["seats"], 6);

    // What only the cache knows cannot be answered, and is not made up.
    let usage = Request::get("/usage").header("x-api-key", "demo-acme");
    assert_eq!(service.ask(usage).await.status, 503);
    let invite = Request::get("/invitations")
        .method("POST")
        .header("x-api-key", "demo-acme")
        .header("idempotency-key", "\"1\"")
        .json(r#"{"email":"jo@example.com"}"#);
    assert_eq!(service.ask(invite).await.status, 503);
    let flush = Request::get("/cache")
        .method("DELETE")
        .header("x-api-key", "demo-acme");
    assert_eq!(service.ask(flush).await.status, 503);

    assert_eq!(service.ask(Request::get("/health/live")).await.status, 200);
    let ready = service.ask(Request::get("/health/ready")).await;
    assert_eq!(
        (ready.status, ready.json()["status"].as_str()),
        (200, Some("degraded"))
    );
    Ok(())
}

#[tokio::test]
async fn a_cache_that_is_known_to_be_down_costs_no_waiting() -> Result<()> {
    let addresses = nobody()?;
    let service = Service::start(&[("CACHE_ADDRS", &addresses), ("CACHE_STARTUP", "degrade")]).await?;
    let settings = || Request::get("/settings").header("x-api-key", "demo-acme");
    service.ask(settings()).await;
    #[expect(
        clippy::disallowed_methods,
        reason = "measures a real process, whose time nobody can hold"
    )]
    let begin = Instant::now();
    service.ask(settings()).await;
    // Two reads of the slow database; three calls of the cache that fail at once.
    assert!(
        begin.elapsed() < Duration::from_millis(800),
        "took {:?}",
        begin.elapsed()
    );
    Ok(())
}

#[tokio::test]
async fn by_default_a_server_that_is_away_stops_the_start() -> Result<()> {
    let addresses = nobody()?;
    let (code, said) = refusal(&[("CACHE_ADDRS", &addresses)]).await?;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&addresses), "{said}");
    Ok(())
}
