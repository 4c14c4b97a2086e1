//! Jobs: who sees which, and who may tell them what.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::asking::Asked;
use crate::removing::ended;

/// A removal that takes a while.
async fn slow(asked: &Asked, pattern: &str) -> String {
    let body = json!({ "patterns": [pattern], "mode": "execute", "rate": 1 });
    let answer = asked.post("root", "/cache/pattern", &body).await;
    answer.is_ok(202);
    answer.json["id"].as_str().unwrap().to_owned()
}

async fn done(asked: &Asked, pattern: &str, mode: &str) -> Value {
    let body = json!({ "patterns": [pattern], "mode": mode });
    let answer = asked.post("root", "/cache/pattern", &body).await;
    ended(asked, &answer).await
}

#[tokio::test]
async fn a_job_is_paused_resumed_and_cancelled_by_those_who_may() {
    let asked = Asked::new().await;
    asked
        .store((0..200).map(|number| format!("billing:{number}")))
        .await;
    let id = slow(&asked, "billing:*").await;
    let path = |verb: &str| format!("/cache/jobs/{id}/{verb}");
    for verb in ["pause", "resume", "cancel"] {
        asked
            .post("lister", &path(verb), &json!({}))
            .await
            .is(403, "forbidden");
        asked
            .post("users", &path(verb), &json!({}))
            .await
            .is(404, "no-such-job");
    }
    let paused = asked.post("billing", &path("pause"), &json!({})).await;
    paused.is_ok(200);
    assert_eq!(paused.json["state"], "paused");
    asked
        .post("billing", &path("resume"), &json!({}))
        .await
        .is_ok(200);
    asked
        .post("billing", &path("cancel"), &json!({}))
        .await
        .is_ok(200);
    let job = asked.service.jobs().wait(id.parse().unwrap()).await.unwrap();
    assert_eq!(job.state.name(), "cancelled");
    let refused = asked.post("billing", &path("pause"), &json!({})).await;
    refused.is(409, "job-state");
    assert_eq!(refused.json["state"], "cancelled");
}

#[tokio::test]
async fn a_job_is_seen_by_those_who_may_see_its_keys() {
    let asked = Asked::new().await;
    let theirs = done(&asked, "billing:*", "execute").await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let count = done(&asked, "billing:*", "count").await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    // A count tells of keys, so that the right to remove them is not enough to see it.
    for (actor, sees) in [
        ("root", 2),
        ("lister", 2),
        ("purger", 1),
        ("billing", 2),
        ("users", 0),
    ] {
        let path = format!("/cache/jobs/{theirs}");
        let answer = asked.get(actor, &path).await;
        if sees > 0 {
            answer.is_ok(200);
        } else {
            answer.is(404, "no-such-job");
        }
        let listed = asked.get(actor, "/cache/jobs").await;
        assert_eq!(listed.json["jobs"].as_array().unwrap().len(), sees, "{actor}");
    }
    asked.get("nobody", "/cache/jobs").await.is(403, "forbidden");
    asked
        .get("nobody", &format!("/cache/jobs/{theirs}"))
        .await
        .is(403, "forbidden");
    // A count is steered with the scope of a count.
    let path = format!("/cache/jobs/{count}/cancel");
    asked.post("lister", &path, &json!({})).await.is(409, "job-state");
    asked
        .post("purger", &path, &json!({}))
        .await
        .is(404, "no-such-job");
    for unknown in [
        "0".repeat(26),
        "z".repeat(26),
        "x".to_owned(),
        "..%2F..".to_owned(),
    ] {
        asked
            .get("root", &format!("/cache/jobs/{unknown}"))
            .await
            .is(404, "no-such-job");
    }
}

#[tokio::test]
async fn pages_of_jobs_hold_each_once_the_newest_first() {
    let asked = Asked::new().await;
    for number in 0..7 {
        done(&asked, &format!("billing:{number}*"), "count").await;
    }
    let mut ids = Vec::new();
    let mut path = "/cache/jobs?limit=3&state=complete".to_owned();
    loop {
        let page = asked.get("root", &path).await;
        page.is_ok(200);
        for job in page.json["jobs"].as_array().unwrap() {
            ids.push(job["id"].as_str().unwrap().to_owned());
        }
        let Some(cursor) = page.json["cursor"].as_str() else {
            break;
        };
        path = format!("/cache/jobs?limit=3&state=complete&cursor={cursor}");
    }
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 7);
    assert!(ids.is_sorted_by(|one, two| one > two), "{ids:?}");
    assert_eq!(
        asked.get("root", "/cache/jobs?state=running").await.json["jobs"],
        json!([])
    );
    for wrong in ["limit=0", "limit=201", "state=done", "cursor=x", "before=1"] {
        asked
            .get("root", &format!("/cache/jobs?{wrong}"))
            .await
            .is(400, "invalid-query");
    }
}

#[tokio::test]
async fn a_job_that_did_not_change_is_not_sent_again() {
    let asked = Asked::new().await;
    let id = done(&asked, "billing:*", "count").await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/cache/jobs/{id}");
    let tag = asked.get("root", &path).await.headers["etag"].clone();
    let again = async |tag: &str| {
        let request = asked.request("root", "GET", &path).header("if-none-match", tag);
        asked.send(request.body("".into()).unwrap()).await
    };
    again(tag.to_str().unwrap()).await.is_ok(304);
    again(&format!("\"x\", W/{}", tag.to_str().unwrap()))
        .await
        .is_ok(304);
    again("\"x\"").await.is_ok(200);
}
