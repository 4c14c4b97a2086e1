//! Tenants, their keys and what they may do, on the embedded client.

use anyhow::Result;

use crate::http::Request;
use crate::service::{Service, refusal};

fn as_acme(path: &str) -> Request {
    Request::get(path).header("x-api-key", "demo-acme")
}

#[tokio::test]
async fn the_second_request_is_answered_by_the_cache() -> Result<()> {
    let service = Service::start(&[]).await?;
    let first = service.ask(as_acme("/settings")).await;
    assert_eq!((first.status, first.header("x-cache")), (200, Some("miss")));
    let second = service.ask(as_acme("/settings")).await;
    assert_eq!((second.status, second.header("x-cache")), (200, Some("hit")));
    assert_eq!(first.json()["database_reads"], 2, "the API key and the settings");
    assert_eq!(second.json()["database_reads"], 2);
    assert_eq!(first.json()["settings"], second.json()["settings"]);
    Ok(())
}

#[tokio::test]
async fn metrics_have_the_hit_ratio_that_callers_saw_and_what_the_recipes_decided() -> Result<()> {
    let service = Service::start(&[]).await?;
    for _ in 0..10 {
        assert_eq!(service.ask(as_acme("/settings")).await.status, 200);
    }
    let metrics = service.ask(Request::get("/metrics")).await.body;
    // Each request reads an API key and settings: the first two are loads.
    for (sample, count) in [
        (r#"cache_read_through_answers_total{cache_answer="hit""#, 18),
        (r#"cache_read_through_answers_total{cache_answer="miss""#, 2),
        (
            r#"cache_rate_limiter_calls_total{cache_rate_limiter_decision="allowed""#,
            10,
        ),
        ("cache_generations_beginnings_total", 1),
    ] {
        let found = metrics.lines().find(|line| line.starts_with(sample));
        let value = found.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        assert_eq!(value, Some(count), "{sample}: {metrics}");
    }
    let near_hits = metrics
        .lines()
        .find(|line| line.starts_with(r#"cache_near_lookups_total{cache_result="hit""#));
    assert!(near_hits.is_some_and(|line| !line.ends_with(" 0")), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn an_update_is_seen_by_the_next_reader() -> Result<()> {
    let service = Service::start(&[]).await?;
    service.ask(as_acme("/settings")).await;
    let new = r#"{"theme":"dark","locale":"de-DE","seats":9}"#;
    let replaced = service.ask(as_acme("/settings").method("PUT").json(new)).await;
    assert_eq!(replaced.status, 200, "{}", replaced.body);
    let seen = service.ask(as_acme("/settings")).await;
    assert_eq!(seen.header("x-cache"), Some("miss"));
    assert_eq!(seen.json()["settings"]["theme"], "dark");
    Ok(())
}

#[tokio::test]
async fn a_tenant_flushes_its_own_entries_and_no_others() -> Result<()> {
    let service = Service::start(&[]).await?;
    let as_globex = || Request::get("/settings").header("x-api-key", "demo-globex");
    service.ask(as_acme("/settings")).await;
    service.ask(as_globex()).await;
    let flushed = service.ask(as_acme("/cache").method("DELETE")).await;
    assert_eq!(flushed.status, 200, "{}", flushed.body);
    let generation = flushed.json()["generation"].as_str().map(str::parse::<u64>);
    assert!(matches!(generation, Some(Ok(1..))), "{}", flushed.body);
    assert_eq!(
        service.ask(as_acme("/settings")).await.header("x-cache"),
        Some("miss")
    );
    assert_eq!(service.ask(as_globex()).await.header("x-cache"), Some("hit"));
    Ok(())
}

#[tokio::test]
async fn only_an_operator_flushes_by_pattern_and_only_what_the_service_cached() -> Result<()> {
    let service = Service::start(&[]).await?;
    let flush = |api_key: &str, query: &str| {
        Request::get(&format!("/admin/cache{query}"))
            .method("DELETE")
            .header("x-api-key", api_key)
    };
    service.ask(as_acme("/settings")).await;
    let all = "?pattern=tenant-service:v1:*";
    assert_eq!(service.ask(flush("demo-acme", all)).await.status, 403);
    assert_eq!(service.ask(flush("nobody", all)).await.status, 401);
    for query in ["", "?pattern=", "?pattern=*", "?pattern=tenant-usage:*"] {
        let refused = service.ask(flush("demo-operator", query)).await;
        assert_eq!(refused.status, 400, "{query}: {}", refused.body);
    }
    let usage = service.ask(as_acme("/usage")).await.json()["requests"].as_u64();
    let flushed = service.ask(flush("demo-operator", all)).await;
    assert_eq!(flushed.status, 200, "{}", flushed.body);
    // The keys of acme, of the operator and of nobody; the settings of acme, and their generation.
    assert_eq!(flushed.json()["removed"], 5);
    assert_eq!(
        service.ask(as_acme("/settings")).await.header("x-cache"),
        Some("miss")
    );
    let after = service.ask(as_acme("/usage")).await.json()["requests"].as_u64();
    assert_eq!(
        after,
        usage.map(|requests| requests + 2),
        "a flush resets no counter"
    );
    Ok(())
}

#[tokio::test]
async fn requests_are_counted_by_tenant() -> Result<()> {
    let service = Service::start(&[]).await?;
    for _ in 0..3 {
        service.ask(as_acme("/settings")).await;
    }
    assert_eq!(service.ask(as_acme("/usage")).await.json()["requests"], 4);
    let theirs = Request::get("/usage").header("x-api-key", "demo-globex");
    assert_eq!(service.ask(theirs).await.json()["requests"], 1);
    Ok(())
}

#[tokio::test]
async fn what_is_not_asked_for_properly_is_refused_as_json() -> Result<()> {
    let service = Service::start(&[]).await?;
    let cases = [
        (Request::get("/settings"), 401),
        (Request::get("/settings").header("x-api-key", "nobody"), 401),
        (Request::get("/nowhere"), 404),
        (as_acme("/usage").method("POST"), 405),
        (
            as_acme("/settings").method("PUT").json(r#"{"theme":"dark"}"#),
            422,
        ),
        (as_acme("/settings").method("PUT").json("dark"), 400),
    ];
    for (request, status) in cases {
        let shown = format!("{request:?}");
        let refused = service.ask(request).await;
        assert_eq!(refused.status, status, "{shown}: {}", refused.body);
        assert!(refused.json()["error"].is_string(), "{shown}: {}", refused.body);
    }
    Ok(())
}

#[tokio::test]
#[cfg(unix)]
async fn no_api_key_is_logged_and_a_signal_ends_it_in_order() -> Result<()> {
    let service = Service::start(&[("RUST_LOG", "trace")]).await?;
    service.ask(as_acme("/settings")).await;
    service
        .ask(Request::get("/settings").header("x-api-key", "guessed-key-4711"))
        .await;
    let log = service.stop().await?;
    assert!(log.contains("stopped"), "{log}");
    for secret in ["demo-acme", "guessed-key-4711"] {
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_configuration_is_told_problem_by_problem() -> Result<()> {
    let (code, said) = refusal(&[
        ("CACHE_ADDRS", "no-port"),
        ("CACHE_READ_TIMEOUT", "soon"),
        ("CACHE_PASSWORD", "hunter2"),
    ])
    .await?;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("CACHE_ADDRS") && said.contains("CACHE_READ_TIMEOUT"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
    Ok(())
}

#[tokio::test]
async fn an_invitation_that_is_sent_twice_is_made_once() -> Result<()> {
    let service = Service::start(&[]).await?;
    let invite = |key: &str, email: &str| {
        as_acme("/invitations")
            .method("POST")
            .header("idempotency-key", key)
            .json(&format!(r#"{{"email":"{email}"}}"#))
    };
    let first = service.ask(invite("\"1\"", "jo@example.com")).await;
    assert_eq!(
        (first.status, first.json()["invitation"].as_u64()),
        (201, Some(1)),
        "{}",
        first.body
    );
    let again = service.ask(invite("\"1\"", "jo@example.com")).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    let other = service.ask(invite("\"1\"", "al@example.com")).await;
    assert_eq!(other.status, 422, "{}", other.body);
    let second = service.ask(invite("\"2\"", "al@example.com")).await;
    assert_eq!(second.json()["invitation"], 2);
    Ok(())
}

#[tokio::test]
async fn a_tenant_on_the_free_plan_is_held_to_its_limit_and_no_other_is() -> Result<()> {
    let service = Service::start(&[]).await?;
    let mut last = service.ask(as_acme("/usage")).await;
    assert!(
        last.header("ratelimit-policy")
            .is_some_and(|policy| policy.contains("free")),
        "{:?}",
        last.header("ratelimit-policy")
    );
    for _ in 0..60 {
        last = service.ask(as_acme("/usage")).await;
    }
    assert_eq!(last.status, 429, "{}", last.body);
    assert!(last.header("retry-after").is_some());
    let theirs = Request::get("/usage").header("x-api-key", "demo-globex");
    assert_eq!(service.ask(theirs).await.status, 200);
    Ok(())
}
