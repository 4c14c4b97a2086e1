//! Requests without a key, with a bad one, and of methods that need none.

use axum::body::Body;
use axum::http::{Method, Request};

use super::rig::{KEY, Runs, layer, request, send, shop};

fn bare(method: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri("/orders")
        .body(Body::from("tea"))
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn without_a_key_a_request_runs_as_if_the_layer_were_not_there() {
    let runs = Runs::default();
    let app = shop(layer(), &runs);
    for number in 1..=3 {
        let answer = send(&app, bare("POST")).await;
        assert_eq!(answer.body, format!("{number} tea"));
        assert_eq!(answer.headers["x-trace"], "1");
        assert_eq!(answer.outcome, None);
    }
}

#[tokio::test(start_paused = true)]
async fn where_a_key_is_required_a_request_without_one_is_400() {
    let runs = Runs::default();
    let app = shop(
        layer()
            .required(true)
            .documentation("https://developer.example.com/idempotency"),
        &runs,
    );
    let answer = send(&app, bare("POST")).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (400, "idempotency-key-missing")
    );
    let page = "https://developer.example.com/idempotency#idempotency-key-missing";
    assert!(answer.body.contains(page), "{}", answer.body);
    // Of a method that does not count none is.
    assert_eq!(send(&app, bare("GET")).await.status, 201);
    assert_eq!(runs.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_malformed_key_is_400_whether_or_not_one_is_required() {
    let runs = Runs::default();
    let app = shop(layer(), &runs);
    let long = "k".repeat(256);
    for key in ["", "\"\"", "\"open", "a b", &long] {
        let answer = send(&app, request(key, "tea")).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "idempotency-key-malformed"),
            "{key}"
        );
    }
    let mut twice = request(KEY, "tea");
    twice
        .headers_mut()
        .append("idempotency-key", "another".parse().unwrap());
    assert_eq!(send(&app, twice).await.status, 400);
    assert_eq!(runs.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_quoted_and_a_bare_key_are_the_same() {
    let runs = Runs::default();
    let app = shop(layer(), &runs);
    send(&app, request(&format!("\"{KEY}\""), "tea")).await;
    assert!(send(&app, request(KEY, "tea")).await.is_replayed());
}

#[tokio::test(start_paused = true)]
async fn only_of_the_chosen_methods_keys_count() {
    let with_key = |method: &str| {
        let mut request = bare(method);
        request
            .headers_mut()
            .insert("idempotency-key", KEY.parse().unwrap());
        request
    };
    for (method, counts) in [("POST", true), ("PATCH", true), ("GET", false), ("PUT", false)] {
        let runs = Runs::default();
        let app = shop(layer(), &runs);
        send(&app, with_key(method)).await;
        let again = send(&app, with_key(method)).await;
        assert_eq!(again.is_replayed(), counts, "{method}");
        assert_eq!(runs.count(), if counts { 1 } else { 2 }, "{method}");
    }
    let runs = Runs::default();
    let app = shop(layer().methods([Method::PUT]), &runs);
    send(&app, with_key("PUT")).await;
    assert!(send(&app, with_key("PUT")).await.is_replayed());
    send(&app, with_key("POST")).await;
    assert!(!send(&app, with_key("POST")).await.is_replayed());
}
