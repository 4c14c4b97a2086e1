//! One broker over HTTP: what it answers, refuses, logs and prints.

use anyhow::{Context as _, Result};

use crate::http::Request;
use crate::process::{self, Process};

fn variables(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    variables.iter().map(owned).collect()
}

#[tokio::test]
async fn second_request_gets_the_same_token_from_the_cache() -> Result<()> {
    let broker = Process::start(&[], &[]).await?;
    let ask = |method: &str| Request::get("/token?app=acme-ci&profile=default").method(method);
    let first = broker.ask(ask("GET")).await;
    assert_eq!(first.status, 200, "{}", first.body);
    assert_eq!(first.header("cache-control"), Some("no-store"));
    assert_eq!(first.json()["served_from"], "mint");
    let second = broker.ask(ask("POST")).await;
    assert_eq!(second.json()["served_from"], "cache");
    assert_eq!(second.json()["token"], first.json()["token"]);
    assert_eq!(second.json()["repositories"], serde_json::json!(["web", "api"]));
    let valid_for = second.json()["valid_for"].as_f64().context("no number")?;
    assert!((3_590.0..=3_600.0).contains(&valid_for), "{valid_for}");
    let status = broker.ask(Request::get("/status")).await.json();
    assert_eq!(
        (&status["requests"], &status["mints"]),
        (&2.into(), &1.into()),
        "{status}"
    );
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_refused_as_json() -> Result<()> {
    let broker = Process::start(&[], &[]).await?;
    for (path, status, says) in [
        ("/token", 400, "app"),
        ("/token?app=nobody", 404, "no such app"),
        ("/token?app=acme-ci&profile=nothing", 404, "no such profile"),
        (
            "/token?app=acme-ci&profile=one-repository",
            400,
            "repository=NAME",
        ),
        (
            "/token?app=acme-ci&profile=one-repository&repository=a/b",
            400,
            "a name alone",
        ),
        ("/token?app=acme-ci&repository=billing", 403, "does not cover"),
        ("/token?app=acme-ci&scope=all", 400, "scope"),
        ("/nowhere", 404, "no such route"),
    ] {
        let refused = broker.ask(Request::get(path)).await;
        assert_eq!(refused.status, status, "{path}: {}", refused.body);
        let said = refused.json()["error"].as_str().unwrap_or_default().to_owned();
        assert!(said.contains(says), "{path}: {said}");
    }
    let refused = broker
        .ask(Request::get("/token?app=acme-ci").method("DELETE"))
        .await;
    assert_eq!(refused.status, 405, "{}", refused.body);
    Ok(())
}

#[tokio::test]
async fn upstream_that_cannot_be_reached_is_a_clear_503() -> Result<()> {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let broker = Process::start(&[], &variables(&[("UPSTREAM_URL", &format!("http://{nobody}"))])).await?;
    let ask = || Request::get("/token?app=acme-ci");
    let refused = broker.ask(ask()).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    let said = refused.json()["error"].to_string();
    assert!(
        said.contains("no valid token: the upstream fails (no answer from"),
        "{said}"
    );
    let again = broker.ask(ask()).await;
    assert!(
        again.json()["error"].to_string().contains("failed a moment ago"),
        "{}",
        again.body
    );
    let after = again.header("retry-after").context("no retry-after")?;
    assert!((50..=60).contains(&after.parse::<u32>()?), "{after}");
    assert_eq!(broker.ask(Request::get("/health/ready")).await.status, 200);
    Ok(())
}

#[tokio::test]
async fn rate_limit_of_the_upstream_is_passed_on_as_a_time_to_wait() -> Result<()> {
    let upstream = Process::start(&["upstream", "--limit", "1"], &[]).await?;
    let url = format!("http://{}", upstream.address);
    let broker = Process::start(&[], &variables(&[("UPSTREAM_URL", &url)])).await?;
    assert_eq!(broker.ask(Request::get("/token?app=acme-ci")).await.status, 200);
    let refused = broker.ask(Request::get("/token?app=acme-release")).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.body.contains("rate limit"), "{}", refused.body);
    let after: u32 = refused.header("retry-after").context("no retry-after")?.parse()?;
    assert!((3_500..=3_600).contains(&after), "{after}");
    let status = broker.ask(Request::get("/status")).await.json();
    assert_eq!(status["upstream_429"], 1, "{status}");
    Ok(())
}

#[tokio::test]
#[cfg(unix)]
async fn no_token_is_logged_and_a_signal_ends_it_in_order() -> Result<()> {
    let broker = Process::start(&[], &variables(&[("RUST_LOG", "trace"), ("REPORT_EVERY", "1")])).await?;
    let given = broker.ask(Request::get("/token?app=acme-ci")).await.json();
    let token = given["token"].as_str().context("no token")?.to_owned();
    let (printed, log) = broker.stop().await?;
    let last = printed.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("1 mints for 1 requests, at this rate "),
        "{printed}"
    );
    assert!(log.contains("stopped") && log.contains("minted"), "{log}");
    assert!(!log.contains(&token) && !printed.contains(&token), "{log}");
    Ok(())
}

#[tokio::test]
async fn demo_prints_the_table_of_a_compressed_hour() -> Result<()> {
    let printed = process::run(&["demo", "--compress", "300", "--rate", "100"], &[]).await?;
    let value = |name: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.trim().parse::<u64>().ok());
        number.unwrap_or_else(|| panic!("no {name} in {printed}"))
    };
    assert!(value("requests ") > 600, "{printed}");
    // Four tokens: one mint each, and one refresh.
    assert_eq!(value("mints "), 8, "{printed}");
    assert_eq!(
        (value("429s of the upstream"), value("  refused (503)")),
        (0, 0),
        "{printed}"
    );
    Ok(())
}
