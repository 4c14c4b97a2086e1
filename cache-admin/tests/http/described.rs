//! The description: that it is one, and that it says what is so.

use std::collections::BTreeSet;

use axum::body::Body;
use serde_json::Value;

use crate::asking::Asked;
use crate::refusing::operations;

#[tokio::test]
async fn the_description_is_openapi_3_1_and_all_that_it_points_at_is_there() {
    let asked = Asked::new().await;
    let document = asked.document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut found = 0;
    references(document, &mut |reference| {
        found += 1;
        assert!(
            document.pointer(reference.trim_start_matches('#')).is_some(),
            "{reference} is nowhere"
        );
    });
    assert!(found > 50, "{found}");
    let ids: BTreeSet<&str> = each(document)
        .map(|(_, operation)| operation["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 21, "{ids:?}");
}

#[tokio::test]
async fn every_operation_says_its_limits_its_refusals_and_who_may() {
    let asked = Asked::new().await;
    for (at, operation) in each(asked.document()) {
        let responses = operation["responses"].as_object().unwrap();
        let gated = operation["security"]
            .as_array()
            .unwrap()
            .iter()
            .all(|way| way != &serde_json::json!({}));
        let mut expected = vec!["400", "403", "406", "500", "503", "504"];
        if gated {
            expected.extend(["401", "429"]);
        }
        for status in expected {
            assert!(responses.contains_key(status), "{at} lacks {status}");
        }
        for (status, response) in responses {
            // What the listener refuses before there is a request.
            if matches!(status.as_str(), "414" | "431") {
                continue;
            }
            assert!(
                response["headers"]["X-Request-Id"]["required"] == true,
                "{at} {status}"
            );
            let refused = status.starts_with(['4', '5']);
            let problem = &response["content"]["application/problem+json"]["schema"];
            assert_eq!(problem.is_null(), !refused, "{at} {status}");
            if refused {
                let kinds = problem["allOf"][1]["properties"]["type"]["enum"]
                    .as_array()
                    .unwrap();
                assert!(!kinds.is_empty(), "{at} {status}");
            }
        }
        for parameter in operation["parameters"].as_array().unwrap() {
            assert!(
                parameter["description"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{at}: {parameter}"
            );
            let schema = &parameter["schema"];
            let unbounded =
                schema["type"] == "integer" && (schema["minimum"].is_null() || schema["maximum"].is_null());
            assert!(!unbounded, "{at}: {parameter}");
        }
        assert!(
            operation["summary"]
                .as_str()
                .or(operation["description"].as_str())
                .is_some(),
            "{at}"
        );
    }
}

#[tokio::test]
async fn every_operation_that_is_described_is_there() {
    let asked = Asked::new().await;
    for (method, path, _) in operations(&asked) {
        let answer = asked
            .send(asked.request("root", &method, &path).body(Body::empty()).unwrap())
            .await;
        assert_ne!(answer.problem(), "not-found", "{method} {path}");
        assert_ne!(answer.status, 405, "{method} {path}");
    }
}

#[tokio::test]
async fn the_description_has_a_tag() {
    let asked = Asked::new().await;
    let tag = asked.get("root", "/openapi.json").await.headers["etag"].clone();
    let request = asked
        .request("root", "GET", "/openapi.json")
        .header("if-none-match", &tag);
    asked.send(request.body(Body::empty()).unwrap()).await.is_ok(304);
}

/// Each operation, with a name for messages.
fn each(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| (format!("{method} {path}"), operation))
    })
}

fn references(value: &Value, found: &mut impl FnMut(&str)) {
    match value {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                found(reference);
            }
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn no_documented_request_has_braces_that_curl_takes_for_its_own() {
    let page = include_str!("../../../docs/http.md");
    let calls: Vec<&str> = page.lines().filter(|line| line.starts_with("$ curl ")).collect();
    assert!(calls.len() > 15, "{calls:?}");
    for call in calls {
        assert!(call.starts_with("$ curl -g "), "{call}");
    }
}
