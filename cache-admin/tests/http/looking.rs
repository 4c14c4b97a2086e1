//! What is looked into: the pulse, big keys, the doctor, the generation of a namespace.

use axum::body::Body;
use serde_json::json;

use crate::asking::Asked;

#[tokio::test]
async fn each_look_goes_on_from_the_reading_of_the_one_before() {
    let asked = Asked::new().await;
    asked.store(["billing:1".to_owned()]).await;
    // Whoever may list anything sees it, as the overview: no key is named.
    let first = asked.get("billing", "/cache/pulse").await;
    first.is_ok(200);
    assert_eq!(first.json["primaries"][0]["keys"], 1);
    assert!(!first.text.contains("billing"), "{}", first.text);
    let reading = first.json["reading"].as_str().unwrap();
    let path = |since: &str| format!("/cache/pulse?since={since}");
    let second = asked.get("lister", &path(reading)).await;
    second.is_ok(200);
    assert!(second.json["reading"].is_string());
    asked.get("purger", "/cache/pulse").await.is(403, "forbidden");

    // Neither what was made elsewhere, nor for something else, nor what was changed.
    let elsewhere = Asked::new().await;
    elsewhere
        .get("root", &path(reading))
        .await
        .is(400, "invalid-cursor");
    asked
        .store((0..500).map(|number| format!("billing:{number}")))
        .await;
    let page = asked.get("root", "/cache/keys?limit=1").await;
    let cursor = page.json["cursor"].as_str().unwrap();
    for wrong in [cursor, "", "x", &reading[1..]] {
        asked.get("root", &path(wrong)).await.is(400, "invalid-cursor");
    }
    // And a reading is no cursor.
    asked
        .get("root", &format!("/cache/keys?cursor={reading}"))
        .await
        .is(400, "invalid-cursor");
}

#[tokio::test]
async fn big_keys_are_named_to_those_who_may_list_them_and_the_work_has_limits() {
    let asked = Asked::new().await;
    asked.get("billing", "/cache/big-keys").await.is(403, "forbidden");
    asked
        .get("billing", "/cache/big-keys?pattern=users:*")
        .await
        .is(403, "forbidden");
    asked.get("purger", "/cache/big-keys").await.is(403, "forbidden");
    for wrong in [
        "samples=0",
        "samples=20001",
        "samples=70000",
        "samples=x",
        "top=1001",
        "top=-1",
        "pattern=",
        "pattern=a&pattern_base64=YQ",
    ] {
        asked
            .get("root", &format!("/cache/big-keys?{wrong}"))
            .await
            .is(400, "invalid-query");
    }
    // The embedded cache does not know what a single key takes.
    asked
        .get("billing", "/cache/big-keys?pattern=billing:*&samples=20000&top=0")
        .await
        .is(501, "unsupported");
}

#[tokio::test]
async fn the_doctor_is_asked_by_those_who_may_do_what_it_does_below_its_prefix() {
    let asked = Asked::new().await;
    let found = asked.get("doctor", "/cache/doctor").await;
    found.is_ok(200);
    assert_eq!(found.json["worst"], "ok");
    let first = &found.json["findings"][0];
    assert_eq!(
        (&first["check"], &first["state"], &first["advice"]),
        (&json!("configuration"), &json!("ok"), &json!(null))
    );
    assert_eq!(found.json["findings"].as_array().unwrap().len(), 16);
    asked
        .get(
            "doctor",
            "/cache/doctor?prefix=cachectl-doctor:a:&deadline_ms=100",
        )
        .await
        .is_ok(200);
    for (actor, path, scope) in [
        ("doctor", "/cache/doctor?prefix=billing:", "list"),
        ("doctor", "/cache/doctor?prefix=", "list"),
        ("root", "/cache/doctor", "acl"),
        ("lister", "/cache/doctor", "invalidate"),
        ("nobody", "/cache/doctor", "list"),
    ] {
        let refused = asked.get(actor, path).await;
        refused.is(403, "forbidden");
        assert_eq!(refused.json["scope"], scope, "{actor} {path}");
    }
    for wrong in ["deadline_ms=99", "deadline_ms=4001", "deadline_ms=1s"] {
        asked
            .get("doctor", &format!("/cache/doctor?{wrong}"))
            .await
            .is(400, "invalid-query");
    }
}

#[tokio::test]
async fn a_generation_is_shown_with_all_its_digits_and_begins_nothing() {
    let asked = Asked::new().await;
    let path = "/cache/namespaces/billing/generation";
    let none = asked.get("billing", path).await;
    none.is_ok(200);
    assert_eq!(
        none.json,
        json!({ "prefix": "billing:v1:", "generation": null, "pattern": null })
    );
    let stepped = asked.post("billing", path, &json!({})).await;
    let number = stepped.json["generation"].as_str().unwrap();
    // Beyond what a floating-point number holds exactly.
    assert!(number.parse::<u64>().unwrap() > 1 << 53, "{number}");
    let shown = asked.get("lister", path).await;
    assert_eq!(shown.json["generation"], number);
    assert_eq!(shown.json["pattern"], format!("billing:v1:+{number}:*"));

    let known = asked
        .request("lister", "GET", path)
        .header("if-none-match", &shown.headers["etag"]);
    asked.send(known.body(Body::empty()).unwrap()).await.is_ok(304);
    let stepped = asked.post("billing", path, &json!({})).await;
    assert_ne!(stepped.json["generation"], number);
    let known = asked
        .request("lister", "GET", path)
        .header("if-none-match", &shown.headers["etag"]);
    asked.send(known.body(Body::empty()).unwrap()).await.is_ok(200);

    for actor in ["users", "purger"] {
        asked.get(actor, path).await.is(403, "forbidden");
    }
    for (namespace, problem) in [
        ("%ff", "invalid-argument"),
        ("billing%2Facme", "invalid-argument"),
    ] {
        asked
            .get("root", &format!("/cache/namespaces/{namespace}/generation"))
            .await
            .is(400, problem);
    }
}
