//! Broad removals: confirmed by exactly the same request, of the same actor, once.

use std::sync::Arc;
use std::time::Duration;

use cache_admin::jobs::{Jobs, JobsConfig};
use cache_admin::{Engine, MemoryKeys};
use cache_core::{CacheClient as _, MemoryCache};
use serde_json::json;

use crate::asking::Asked;
use crate::removing::{ended, execute};

#[tokio::test]
async fn a_broad_removal_is_confirmed_by_exactly_the_same_request() {
    let asked = Asked::new().await;
    asked
        .store((0..5).map(|number| format!("billing:{number}")))
        .await;
    let with = |pattern: &str, confirm: &str| json!({ "patterns": [pattern], "mode": "execute", "confirm": confirm });
    let asking = asked.post("root", "/cache/pattern", &execute("*")).await;
    asking.is(428, "confirmation-required");
    assert_eq!(
        (&asking.json["patterns"], &asking.json["expires_in"]),
        (&json!(["*"]), &json!(300))
    );
    let confirm = asking.json["confirm"].as_str().unwrap();
    // Another actor, another pattern, another way, another service, a forged one.
    asked
        .post("other-root", "/cache/pattern", &with("*", confirm))
        .await
        .is(428, "confirmation-required");
    asked
        .post("root", "/cache/pattern", &with("?*", confirm))
        .await
        .is(428, "confirmation-required");
    let mut more = with("*", confirm);
    more["max_keys"] = 3.into();
    asked
        .post("root", "/cache/pattern", &more)
        .await
        .is(428, "confirmation-required");
    let elsewhere = Asked::new().await;
    elsewhere
        .post("root", "/cache/pattern", &with("*", confirm))
        .await
        .is(428, "confirmation-required");
    let forged = format!("{confirm}A");
    asked
        .post("root", "/cache/pattern", &with("*", &forged))
        .await
        .is(428, "confirmation-required");
    assert_eq!(asked.stack.client.exists(&["billing:0"]).await.unwrap(), 1);

    let done = asked.post("root", "/cache/pattern", &with("*", confirm)).await;
    done.is_ok(202);
    assert_eq!(ended(&asked, &done).await["progress"]["removed"], 5);
    let asking = asked.delete("root", "/cache/pattern?pattern=*:*").await;
    asking.is(428, "confirmation-required");
    let path = format!(
        "/cache/pattern?pattern=*:*&confirm={}",
        asking.json["confirm"].as_str().unwrap()
    );
    asked.delete("root", &path).await.is_ok(202);
}

#[tokio::test]
async fn a_confirmation_is_used_once_and_a_retry_of_the_same_request_is_still_answered() {
    // Also where nothing is kept of jobs that have ended.
    let config = JobsConfig::default().with_history(0, Duration::ZERO);
    let engine = Engine::new(MemoryKeys::new(Arc::new(MemoryCache::default())));
    let jobs = Jobs::open(engine, config).await.unwrap();
    let asked = Asked::with(|builder| builder.jobs(jobs)).await;
    let asking = asked.post("root", "/cache/pattern", &execute("*")).await;
    let mut body = execute("*");
    body["confirm"] = asking.json["confirm"].clone();
    let send = async |key: &str| {
        let request = asked
            .request("root", "POST", "/cache/pattern")
            .header("content-type", "application/json")
            .header("idempotency-key", key);
        asked.send(request.body(body.to_string().into()).unwrap()).await
    };
    let first = send("k1").await;
    first.is_ok(202);
    ended(&asked, &first).await;
    let retried = send("k1").await;
    retried.is_ok(202);
    assert_eq!(retried.json["id"], first.json["id"]);

    for again in [
        send("k2").await,
        asked.post("root", "/cache/pattern", &body).await,
    ] {
        again.is(428, "confirmation-required");
        assert_eq!(again.json["job"], first.json["id"]);
        assert!(
            again.json["detail"]
                .as_str()
                .unwrap()
                .contains("it was used for job"),
            "{}",
            again.text
        );
        assert_ne!(again.json["confirm"], body["confirm"]);
    }
    // The new one is good, and so is another one that was asked for in the same second.
    let tokens = [
        asked.post("root", "/cache/pattern", &execute("*")).await,
        asked.post("root", "/cache/pattern", &execute("*")).await,
    ];
    for token in tokens {
        let mut body = execute("*");
        body["confirm"] = token.json["confirm"].clone();
        let done = asked.post("root", "/cache/pattern", &body).await;
        done.is_ok(202);
        ended(&asked, &done).await;
    }
}

#[tokio::test]
async fn a_confirmation_is_not_used_up_where_nothing_was_started() {
    let asked = Asked::new().await;
    asked
        .store((0..2_000).map(|number| format!("billing:{number}")))
        .await;
    let slow = json!({ "patterns": ["billing:*"], "mode": "execute", "rate": 1 });
    let slow = asked.post("root", "/cache/pattern", &slow).await;
    slow.is_ok(202);
    let asking = asked.post("root", "/cache/pattern", &execute("*")).await;
    let mut body = execute("*");
    body["confirm"] = asking.json["confirm"].clone();
    asked
        .post("root", "/cache/pattern", &body)
        .await
        .is(409, "overlapping-job");
    let id = slow.json["id"].as_str().unwrap();
    asked
        .post("root", &format!("/cache/jobs/{id}/cancel"), &json!({}))
        .await
        .is_ok(200);
    ended(&asked, &slow).await;
    asked.post("root", "/cache/pattern", &body).await.is_ok(202);
}
