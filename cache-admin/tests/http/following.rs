//! The events of a job, as they come.

use std::time::Duration;

use axum::body::Body;
use cache_admin::http::Limits;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::asking::Asked;
use crate::removing::ended;

/// Number, name and data of each event in a text.
fn events(text: &str) -> Vec<(u64, String, Value)> {
    let field = |event: &str, name: &str| {
        let mut lines = event.lines().filter_map(|line| line.strip_prefix(name));
        lines.next().map(|value| value.trim_start().to_owned())
    };
    let events = text.split("\n\n").filter(|event| event.contains("data:"));
    events
        .map(|event| {
            let data = serde_json::from_str(&field(event, "data:").unwrap()).unwrap();
            (
                field(event, "id:").unwrap().parse().unwrap(),
                field(event, "event:").unwrap(),
                data,
            )
        })
        .collect()
}

#[tokio::test]
async fn events_come_numbered_until_the_job_ends_and_go_on_where_a_client_left() {
    let asked = Asked::new().await;
    asked
        .store((0..50).map(|number| format!("billing:{number}")))
        .await;
    let body = json!({ "patterns": ["billing:*"], "mode": "execute" });
    let answer = asked.post("root", "/cache/pattern", &body).await;
    let path = format!("/cache/jobs/{}/events", answer.json["id"].as_str().unwrap());
    let all = asked.get("billing", &path).await;
    all.is_ok(200);
    let all = events(&all.text);
    assert!(all.is_sorted_by(|one, two| one.0 < two.0), "{all:?}");
    let (last, name, data) = all.last().unwrap();
    assert_eq!(
        (name.as_str(), &data["state"], &data["removed"]),
        ("ended", &json!("complete"), &json!(50))
    );
    assert_eq!(
        (&data["sequence"], &data["type"]),
        (&json!(last), &json!("ended"))
    );

    let after = async |id: &str| {
        let request = asked.request("root", "GET", &path).header("last-event-id", id);
        asked.send(request.body(Body::empty()).unwrap()).await
    };
    let rest = after(&all[1].0.to_string()).await;
    rest.is_ok(200);
    assert_eq!(events(&rest.text), all[2..]);
    // There is nothing more to come: a browser does not ask again.
    after(&last.to_string()).await.is_ok(204);
    for wrong in ["x", "-1", "1.5", ""] {
        after(wrong).await.is(400, "invalid-header");
    }
    asked.get("users", &path).await.is(404, "no-such-job");
    asked.get("nobody", &path).await.is(403, "forbidden");
}

#[tokio::test]
async fn a_stream_tells_that_it_is_there_and_ends_with_the_service() {
    let limits = Limits::default()
        .with_heartbeat(Duration::from_millis(20))
        .with_streams(1);
    let asked = Asked::with(|builder| builder.limits(limits)).await;
    asked
        .store((0..100).map(|number| format!("billing:{number}")))
        .await;
    let body = json!({ "patterns": ["billing:*"], "mode": "execute", "rate": 1 });
    let job = asked.post("root", "/cache/pattern", &body).await;
    let path = format!("/cache/jobs/{}/events", job.json["id"].as_str().unwrap());
    let request = || asked.request("root", "GET", &path).body(Body::empty()).unwrap();
    let response = asked.router.clone().oneshot(request()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.into_body();
    let mut text = String::new();
    while !text.contains("\n:\n") && !text.starts_with(":\n") {
        let frame = stream.frame().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    // No more streams than there may be.
    asked.send(request()).await.is(503, "busy");
    asked.service.stop();
    while let Some(frame) = stream.frame().await {
        frame.unwrap();
    }
    asked
        .get("root", "/health/ready")
        .await
        .is(503, "cache-unavailable");
    asked.get("root", "/health/live").await.is_ok(200);
    // The place is free again, and the job goes on.
    drop(stream);
    asked.get("root", &path).await.is_ok(200);
    let id = job.json["id"].as_str().unwrap();
    asked
        .post("root", &format!("/cache/jobs/{id}/cancel"), &json!({}))
        .await
        .is_ok(200);
    ended(&asked, &job).await;
}

#[tokio::test]
async fn a_job_that_fails_says_why_in_its_last_event() {
    let asked = Asked::new().await;
    asked.store(["billing:1".to_owned()]).await;
    // The embedded cache does not know what a key takes.
    let body = json!({ "pattern": "billing:*", "mode": "execute", "size": { "min": 1 } });
    let answer = asked.post("root", "/cache/pattern", &body).await;
    answer.is_ok(202);
    let path = format!("/cache/jobs/{}/events", answer.json["id"].as_str().unwrap());
    let all = events(&asked.get("root", &path).await.text);
    let (_, name, data) = all.last().unwrap();
    assert_eq!(
        (name.as_str(), &data["state"]),
        ("ended", &json!("failed")),
        "{all:?}"
    );
    assert!(!data["error"].as_str().unwrap_or_default().is_empty(), "{data}");
}
