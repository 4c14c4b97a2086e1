//! What is refused, at every route: in one form, with what helps.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use cache_admin::http::Limits;
use cache_core::CacheClient as _;
use cache_layers::Quota;
use serde_json::json;

use crate::asking::Asked;

/// Method and path of every operation, with names in the places of its parameters; and whether it needs a token.
pub(crate) fn operations(asked: &Asked) -> Vec<(String, String, bool)> {
    let paths = asked.document()["paths"].as_object().unwrap();
    let mut all = Vec::new();
    for (path, methods) in paths {
        let path = path
            .replace("{id}", &"0".repeat(26))
            .replace("{namespace}", "billing");
        for (method, operation) in methods.as_object().unwrap() {
            let gated = operation["security"]
                .as_array()
                .unwrap()
                .iter()
                .all(|way| way != &json!({}));
            all.push((method.to_uppercase(), path.clone(), gated));
        }
    }
    assert_eq!(all.len(), 21, "{all:?}");
    all
}

#[tokio::test]
async fn every_route_wants_a_token_that_is_known_health_and_description_apart() {
    let limits = Limits::default().with_failures(Quota::fixed(1_000, Duration::from_secs(60)));
    let asked = Asked::with(|builder| builder.limits(limits)).await;
    for (method, path, gated) in operations(&asked) {
        let with = |header: Option<&str>| {
            let mut request = Request::builder().method(method.as_str()).uri(&path);
            if let Some(header) = header {
                request = request.header("authorization", header);
            }
            request.body(Body::empty()).unwrap()
        };
        for header in [None, Some("Bearer x"), Some("Basic eA=="), Some("Bearer")] {
            let answer = asked.send(with(header)).await;
            if gated {
                answer.is(401, "unauthorized");
                let challenge = answer.headers["www-authenticate"].to_str().unwrap();
                assert!(challenge.starts_with("Bearer realm="), "{challenge}");
                assert_eq!(challenge.contains("invalid_token"), header == Some("Bearer x"));
            } else {
                answer.is_ok(200);
            }
        }
    }
}

#[tokio::test]
async fn every_route_wants_a_scope() {
    let asked = Asked::new().await;
    for (method, path, gated) in operations(&asked) {
        let body = json!({ "patterns": ["billing:*"], "mode": "execute" }).to_string();
        let query = match (method.as_str(), path.as_str()) {
            ("DELETE", "/cache") => "?key=a",
            ("DELETE", "/cache/pattern") => "?pattern=a*",
            _ => "",
        };
        let request = asked
            .request("nobody", &method, &format!("{path}{query}"))
            .header("content-type", "application/json");
        let answer = asked.send(request.body(body.into()).unwrap()).await;
        // Metrics are for every actor.
        if gated && path != "/metrics" {
            answer.is(403, "forbidden");
            assert!(answer.json["scope"].is_string());
        } else {
            answer.is_ok(200);
        }
    }
}

#[tokio::test]
async fn every_route_refuses_what_it_does_not_know() {
    let asked = Asked::new().await;
    for (method, path, _) in operations(&asked) {
        let send = async |query: &str, accept: &str| {
            let request = asked
                .request("root", &method, &format!("{path}{query}"))
                .header("accept", accept)
                .header("content-type", "application/json");
            let body = json!({ "patterns": ["billing:*"], "mode": "count" }).to_string();
            asked.send(request.body(body.into()).unwrap()).await
        };
        let answer = send("?unknown=1", "*/*").await;
        answer.is(400, "invalid-query");
        assert!(
            answer.json["detail"].as_str().unwrap().contains("unknown"),
            "{}",
            answer.text
        );
        send("?%zz", "*/*").await.is(400, "invalid-query");
        send("", "image/png").await.is(406, "not-acceptable");
        for method in ["PUT", "PATCH", "OPTIONS", "TRACE"] {
            let request = asked.request("root", method, &path).body(Body::empty()).unwrap();
            let answer = asked.send(request).await;
            answer.is(405, "method-not-allowed");
            assert!(answer.headers.contains_key("allow"), "{method} {path}");
        }
    }
    for path in ["/", "/nowhere", "/cache/", "/cache/keys/1", "/cache/jobs/a/b/c"] {
        asked.get("root", path).await.is(404, "not-found");
    }
}

#[tokio::test]
async fn a_body_is_json_and_no_larger_than_the_limit() {
    let limits = Limits::default()
        .with_body(100)
        .with_body_timeout(Duration::from_millis(50));
    let asked = Asked::with(|builder| builder.limits(limits)).await;
    let send = async |kind: Option<&str>, body: Body| {
        let mut request = asked.request("root", "POST", "/cache/pattern");
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        asked.send(request.body(body).unwrap()).await
    };
    let text = json!({ "patterns": ["a*"], "mode": "count" }).to_string();
    send(Some("application/json; charset=utf-8"), text.clone().into())
        .await
        .is_ok(200);
    send(None, text.clone().into())
        .await
        .is(415, "unsupported-media-type");
    send(Some("text/plain"), text.clone().into())
        .await
        .is(415, "unsupported-media-type");
    send(Some("application/json"), "{".into())
        .await
        .is(400, "invalid-body");
    send(Some("application/json"), Body::empty())
        .await
        .is(400, "invalid-body");
    send(Some("application/json"), vec![b'"', 0xff, b'"'].into())
        .await
        .is(400, "invalid-body");
    send(Some("application/json"), " ".repeat(101).into())
        .await
        .is(413, "body-too-large");
    // Its length is not told before.
    let parts = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 40]));
    send(Some("application/json"), Body::from_stream(parts))
        .await
        .is(413, "body-too-large");
    let never = futures::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    send(Some("application/json"), Body::from_stream(never))
        .await
        .is(408, "request-timeout");
}

#[tokio::test]
async fn nobody_asks_more_often_than_they_may_and_others_do_not_suffer() {
    let minute = Duration::from_secs(60);
    let limits = Limits::default()
        .with_requests(Quota::fixed(3, minute))
        .with_failures(Quota::fixed(2, minute));
    let asked = Asked::with(|builder| builder.limits(limits)).await;
    let mut limited = 0;
    // A window may end in between.
    for _ in 0..8 {
        let answer = asked.get("root", "/metrics").await;
        if answer.status == 429 {
            answer.is(429, "rate-limited");
            let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=60).contains(&wait));
            limited += 1;
        }
    }
    assert!(limited >= 2, "{limited}");
    asked.get("billing", "/metrics").await.is_ok(200);

    let mut limited = 0;
    for _ in 0..6 {
        let answer = asked
            .send(Request::get("/cache").body(Body::empty()).unwrap())
            .await;
        limited += usize::from(answer.status == 429);
    }
    assert!(limited >= 2, "{limited}");
    // Whoever is known is let in all the same.
    asked.get("users", "/metrics").await.is_ok(200);
}

#[tokio::test]
async fn a_cache_that_is_away_is_no_defect_of_the_service() {
    let asked = Asked::new().await;
    asked.get("root", "/health/ready").await.is_ok(200);
    asked.stack.client.close().await.unwrap();
    for path in ["/cache?key=a", "/health/ready"] {
        // What a ping said is believed for half a second.
        let mut answer = asked.get("root", path).await;
        while answer.status == 200 {
            tokio::task::yield_now().await;
            answer = asked.get("root", path).await;
        }
        answer.is(503, "cache-unavailable");
        assert!(answer.headers.contains_key("retry-after"));
    }
    asked
        .delete("root", "/cache?key=a")
        .await
        .is(503, "cache-unavailable");
    asked.get("root", "/health/live").await.is_ok(200);
    let limits = Limits::default()
        .with_timeout(Duration::from_millis(1))
        .with_answer_within(Duration::from_secs(60));
    let slow = Asked::with(|builder| builder.limits(limits)).await;
    slow.store((0..100).map(|number| format!("billing:{number}")))
        .await;
    let body = json!({ "patterns": ["billing:*"], "mode": "count", "rate": 1 });
    slow.post("root", "/cache/pattern", &body)
        .await
        .is(504, "timeout");
}
