//! Counting and removing by pattern: what is done, what has to be confirmed, what is done once only.

use cache_core::CacheClient as _;
use serde_json::{Value, json};

use crate::asking::{Answer, Asked};

pub(crate) fn execute(pattern: &str) -> Value {
    json!({ "patterns": [pattern], "mode": "execute" })
}

/// The job that an answer is about, once it has ended.
pub(crate) async fn ended(asked: &Asked, answer: &Answer) -> Value {
    let id = answer.json["id"].as_str().unwrap().parse().unwrap();
    let job = asked.service.jobs().wait(id).await.unwrap();
    serde_json::to_value(job).unwrap()
}

#[tokio::test]
async fn a_count_is_answered_at_once_and_changes_nothing() {
    let asked = Asked::new().await;
    asked
        .store((0..30).map(|number| format!("billing:{number}")))
        .await;
    asked.store(["users:1".to_owned()]).await;
    let request = json!({ "patterns": ["billing:*", "users:*"], "mode": "count" });
    let counted = asked.post("lister", "/cache/pattern", &request).await;
    counted.is_ok(200);
    assert_eq!(
        (&counted.json["state"], &counted.json["progress"]["matched"]),
        (&json!("complete"), &json!(31))
    );
    assert_eq!(counted.json["sample"], json!([]));
    let request = json!({ "patterns": ["billing:*"], "mode": "dry_run", "sample": 5, "types": ["string"], "forever": true });
    let tried = asked.post("lister", "/cache/pattern", &request).await;
    assert_eq!(tried.json["sample"].as_array().unwrap().len(), 5);
    assert_eq!(
        (
            &tried.json["progress"]["matched"],
            &tried.json["progress"]["removed"]
        ),
        (&json!(30), &json!(0))
    );
    let request = json!({ "patterns": ["billing:*"], "mode": "count", "ttl_ms": { "max": 1000 } });
    assert_eq!(
        asked.post("lister", "/cache/pattern", &request).await.json["progress"]["matched"],
        0
    );
    asked
        .post("purger", "/cache/pattern", &request)
        .await
        .is(403, "forbidden");
    asked
        .post("users", "/cache/pattern", &request)
        .await
        .is(403, "forbidden");
}

#[tokio::test]
async fn a_removal_is_a_job_that_removes_what_matches_and_nothing_else() {
    let asked = Asked::new().await;
    asked
        .store((0..30).map(|number| format!("billing:{number}")))
        .await;
    asked.store(["users:1".to_owned(), "users:2".to_owned()]).await;
    let answer = asked
        .post("billing", "/cache/pattern", &execute("billing:*"))
        .await;
    answer.is_ok(202);
    let id = answer.json["id"].as_str().unwrap();
    assert_eq!(answer.headers["location"], format!("jobs/{id}"));
    let job = ended(&asked, &answer).await;
    assert_eq!(
        (&job["state"], &job["progress"]["removed"]),
        (&json!("complete"), &json!(30))
    );
    assert_eq!(job["actor"]["name"], "billing");
    let answer = asked
        .delete("users", "/cache/pattern?pattern=users:*&max_keys=1")
        .await;
    answer.is_ok(202);
    let job = ended(&asked, &answer).await;
    assert_eq!(
        (&job["state"], &job["progress"]["removed"]),
        (&json!("partial"), &json!(1))
    );
    assert_eq!(job["gaps"][0]["kind"], "limit");
    assert_eq!(
        asked.stack.client.exists(&["users:1", "users:2"]).await.unwrap(),
        1
    );
}

#[tokio::test]
async fn nobody_removes_beyond_what_they_were_granted() {
    let asked = Asked::new().await;
    asked.store(["users:1".to_owned()]).await;
    for pattern in ["users:*", "*", "bill*", "[b]illing:*", "users:1"] {
        asked
            .post("billing", "/cache/pattern", &execute(pattern))
            .await
            .is(403, "forbidden");
        asked
            .delete("billing", &format!("/cache/pattern?pattern={pattern}"))
            .await
            .is(403, "forbidden");
    }
    let both = json!({ "patterns": ["billing:*", "users:*"], "mode": "execute" });
    let refused = asked.post("billing", "/cache/pattern", &both).await;
    refused.is(403, "forbidden");
    assert_eq!(refused.json["scope"], "purge");
    assert!(
        refused.headers["www-authenticate"]
            .to_str()
            .unwrap()
            .contains("insufficient_scope")
    );
    asked
        .post("lister", "/cache/pattern", &execute("users:*"))
        .await
        .is(403, "forbidden");
    assert_eq!(asked.stack.client.exists(&["users:1"]).await.unwrap(), 1);
    assert!(asked.service.jobs().list(&[], None, 10).is_empty());
}

#[tokio::test]
async fn the_same_request_with_the_same_key_is_one_job() {
    let asked = Asked::new().await;
    let send = async |actor: &str, key: &str, body: Value| {
        let request = asked
            .request(actor, "POST", "/cache/pattern")
            .header("content-type", "application/json")
            .header("idempotency-key", key);
        asked.send(request.body(body.to_string().into()).unwrap()).await
    };
    let first = send("root", "k1", execute("billing:*")).await;
    first.is_ok(202);
    ended(&asked, &first).await;
    let again = send("root", "\"k1\"", execute("billing:*")).await;
    again.is_ok(202);
    assert_eq!(first.json["id"], again.json["id"]);
    let other = send("root", "k1", execute("users:*")).await;
    other.is(422, "idempotency-key-reused");
    assert_eq!(other.json["job"], first.json["id"]);
    // A key is its actor's own.
    let theirs = send("billing", "k1", execute("billing:*")).await;
    theirs.is_ok(202);
    assert_ne!(theirs.json["id"], first.json["id"]);
    for wrong in ["", "a b", &"x".repeat(256)] {
        send("root", wrong, execute("billing:*"))
            .await
            .is(400, "invalid-header");
    }
    assert_eq!(asked.service.jobs().list(&[], None, 10).len(), 2);
}

#[tokio::test]
async fn of_two_removals_of_the_same_keys_the_second_is_told_of_the_first() {
    let asked = Asked::new().await;
    asked
        .store((0..100).map(|number| format!("billing:{number}")))
        .await;
    let mut slow = execute("billing:*");
    slow["rate"] = 1.into();
    let first = asked.post("root", "/cache/pattern", &slow).await;
    first.is_ok(202);
    let second = asked.post("root", "/cache/pattern", &execute("billing:1*")).await;
    second.is(409, "overlapping-job");
    assert_eq!(
        (&second.json["job"], &second.json["pattern"]),
        (&first.json["id"], &json!("billing:*"))
    );
    asked
        .delete("root", "/cache/pattern?pattern=billing:2*")
        .await
        .is(409, "overlapping-job");
    asked
        .post("root", "/cache/pattern", &execute("users:*"))
        .await
        .is_ok(202);
    let id = first.json["id"].as_str().unwrap();
    asked
        .post("root", &format!("/cache/jobs/{id}/cancel"), &json!({}))
        .await
        .is_ok(200);
    assert_eq!(ended(&asked, &first).await["state"], "cancelled");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_by_name() {
    let asked = Asked::new().await;
    let wrong = [
        (json!({}), "patterns"),
        (json!({ "patterns": ["a*"], "mode": "purge" }), "purge"),
        (
            json!({ "patterns": ["a*"], "mode": "count", "dryrun": true }),
            "dryrun",
        ),
        (
            json!({ "patterns": [{ "base64": "!" }], "mode": "count" }),
            "base64",
        ),
        (json!({ "patterns": [1], "mode": "count" }), "PatternText"),
        (
            json!({ "patterns": ["a*"], "mode": "count", "types": ["blob"] }),
            "blob",
        ),
        (json!({ "patterns": ["a*"], "mode": "count", "rate": 0 }), "rate"),
        (
            json!({ "patterns": ["a*"], "mode": "count", "sample": 1001 }),
            "sample",
        ),
        (
            json!({ "patterns": ["a*"], "mode": "count", "max_keys": 0 }),
            "max_keys",
        ),
        (
            json!({ "patterns": ["a*"], "mode": "count", "patience_ms": 3_600_001 }),
            "patience_ms",
        ),
        (
            json!({ "patterns": ["a*"], "mode": "count", "size": { "min": 2, "max": 1 } }),
            "size",
        ),
        (
            json!({ "patterns": ["a*"], "mode": "count", "size": { "least": 2 } }),
            "least",
        ),
        (
            json!({ "patterns": ["a*"], "mode": "count", "forever": true, "ttl_ms": {} }),
            "ttl_ms",
        ),
        (json!([]), "invalid"),
    ];
    for (body, word) in wrong {
        let answer = asked.post("root", "/cache/pattern", &body).await;
        answer.is(400, "invalid-body");
        let detail = answer.json["detail"].as_str().unwrap();
        assert!(detail.contains(word), "{body}: {detail}");
    }
    for body in [
        json!({ "patterns": [], "mode": "count" }),
        json!({ "patterns": [""], "mode": "count" }),
    ] {
        asked
            .post("root", "/cache/pattern", &body)
            .await
            .is(400, "invalid-argument");
    }
    for wrong in [
        "",
        "?pattern=",
        "?pattern=a&pattern_base64=YQ",
        "?pattern=a&mode=execute",
        "?pattern=a&rate=0",
        "?pattern=%ff",
    ] {
        asked
            .delete("root", &format!("/cache/pattern{wrong}"))
            .await
            .is(400, "invalid-query");
    }
    assert!(asked.service.jobs().list(&[], None, 10).is_empty());
}

#[tokio::test]
async fn a_generation_is_stepped_once_per_key_and_within_the_own_prefix() {
    let asked = Asked::new().await;
    let path = "/cache/namespaces/billing/generation";
    let first = asked.post("billing", path, &json!({})).await;
    first.is_ok(200);
    let second = asked.post("root", path, &json!({})).await;
    assert_eq!(second.json["previous"], first.json["generation"]);
    asked.post("users", path, &json!({})).await.is(403, "forbidden");
    asked.post("lister", path, &json!({})).await.is(403, "forbidden");
    let tenant = "/cache/namespaces/billing%2F%7Bacme%7D/generation";
    assert_eq!(
        asked.post("billing", tenant, &json!({})).await.json["prefix"],
        "billing:v1:{acme}:"
    );
    asked
        .post("root", "/cache/namespaces/billing%2Facme/generation", &json!({}))
        .await
        .is(400, "invalid-argument");
    asked
        .post("root", "/cache/namespaces/%ff/generation", &json!({}))
        .await
        .is(400, "invalid-argument");

    // Numbers of generations are larger than what JavaScript holds exactly: they are text.
    assert!(first.json["generation"].is_string() && first.json["previous"].is_string());

    let with_key = async |path: &str| {
        let request = asked
            .request("root", "POST", path)
            .header("idempotency-key", "once");
        asked.send(request.body("".into()).unwrap()).await
    };
    let third = with_key(path).await;
    assert_eq!(with_key(path).await.json, third.json);
    with_key(tenant).await.is(422, "idempotency-key-reused");
}

#[tokio::test]
async fn the_shortest_body_counts_and_removes_nothing() {
    let asked = Asked::new().await;
    asked
        .store((0..30).map(|number| format!("billing:{number}")))
        .await;
    for body in [
        json!({ "pattern": "billing:*" }),
        json!({ "pattern": { "base64": "YmlsbGluZzoq" } }),
        json!({ "patterns": ["billing:*"] }),
    ] {
        let counted = asked.post("lister", "/cache/pattern", &body).await;
        counted.is_ok(200);
        assert_eq!(
            (&counted.json["mode"], &counted.json["progress"]["matched"]),
            (&json!("count"), &json!(30)),
            "{body}"
        );
    }
    let removed = asked
        .post(
            "root",
            "/cache/pattern",
            &json!({ "pattern": "billing:1*", "mode": "execute" }),
        )
        .await;
    assert_eq!(ended(&asked, &removed).await["progress"]["removed"], 11);
    for wrong in [json!({}), json!({ "pattern": "a*", "patterns": ["b*"] })] {
        asked
            .post("root", "/cache/pattern", &wrong)
            .await
            .is(400, "invalid-body");
    }
}

#[tokio::test]
async fn a_get_by_pattern_counts_and_removes_nothing() {
    let asked = Asked::new().await;
    asked
        .store((0..30).map(|number| format!("billing:{number}")))
        .await;
    for path in [
        "/cache/pattern?pattern=billing:*",
        "/cache/pattern?pattern_base64=YmlsbGluZzoq&rate=100000&pace=full",
    ] {
        let counted = asked.get("lister", path).await;
        counted.is_ok(200);
        assert_eq!(
            (
                &counted.json["mode"],
                &counted.json["progress"]["matched"],
                &counted.json["progress"]["removed"]
            ),
            (&json!("count"), &json!(30), &json!(0)),
            "{path}"
        );
    }
    assert_eq!(asked.stack.client.exists(&["billing:1"]).await.unwrap(), 1);
    asked
        .get("purger", "/cache/pattern?pattern=billing:*")
        .await
        .is(403, "forbidden");
    for wrong in ["", "?pattern=a*&mode=execute", "?pattern=a*&rate=0"] {
        asked
            .get("root", &format!("/cache/pattern{wrong}"))
            .await
            .is(400, "invalid-query");
    }
}

#[tokio::test]
async fn a_delete_takes_the_pattern_as_a_body_too() {
    let asked = Asked::new().await;
    asked
        .store((0..30).map(|number| format!("billing:{number}")))
        .await;
    asked.store(["users:1".to_owned()]).await;
    let delete = async |actor: &str, query: &str, body: Value| {
        let request = asked
            .request(actor, "DELETE", &format!("/cache/pattern{query}"))
            .header("content-type", "application/json");
        asked.send(request.body(body.to_string().into()).unwrap()).await
    };
    // Counted first, by the same route.
    let tried = delete("root", "", json!({ "pattern": "billing:*", "mode": "dry_run" })).await;
    tried.is_ok(200);
    assert_eq!(tried.json["progress"]["matched"], 30);
    assert_eq!(asked.stack.client.exists(&["billing:1"]).await.unwrap(), 1);

    let removed = delete("billing", "", json!({ "pattern": "billing:*", "rate": 100_000 })).await;
    removed.is_ok(202);
    let job = ended(&asked, &removed).await;
    assert_eq!(
        (&job["mode"], &job["progress"]["removed"]),
        (&json!("execute"), &json!(30))
    );
    delete("billing", "", json!({ "pattern": "users:*" }))
        .await
        .is(403, "forbidden");
    // A broad one is confirmed by the same body.
    let refused = delete("root", "", json!({ "pattern": "*" })).await;
    refused.is(428, "confirmation-required");
    assert_eq!(asked.stack.client.exists(&["users:1"]).await.unwrap(), 1);
    let confirmed = delete(
        "root",
        "",
        json!({ "pattern": "*", "confirm": refused.json["confirm"] }),
    )
    .await;
    confirmed.is_ok(202);
    assert_eq!(ended(&asked, &confirmed).await["progress"]["removed"], 1);
    // What is removed is said once.
    delete("root", "?pattern=a*", json!({ "pattern": "a*" }))
        .await
        .is(400, "invalid-query");
    delete("root", "", json!({})).await.is(400, "invalid-body");
    let text = asked
        .request("root", "DELETE", "/cache/pattern")
        .header("content-type", "text/plain");
    asked
        .send(text.body("a*".into()).unwrap())
        .await
        .is(415, "unsupported-media-type");
}

#[tokio::test]
async fn a_job_looked_at_no_fewer_keys_than_matched() {
    let asked = Asked::new().await;
    for mode in ["count", "dry_run", "execute"] {
        asked
            .store((0..300).map(|number| format!("billing:{number}")))
            .await;
        let request = json!({ "pattern": "billing:*", "mode": mode });
        let job = ended(&asked, &asked.post("root", "/cache/pattern", &request).await).await;
        let primary = &job["primaries"][0];
        assert_eq!(primary["matched"], 300, "{job}");
        assert!(
            primary["looked_at"].as_u64() >= primary["matched"].as_u64(),
            "{mode}: {job}"
        );
    }
}
