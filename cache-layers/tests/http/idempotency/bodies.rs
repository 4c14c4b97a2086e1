//! Large bodies, streams, bodies that break off.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::IntoResponse as _;
use cache_core::{Keyspace, MemoryCache};
use cache_layers::http::{IdempotencyOutcome, NotKept};
use cache_layers::{Idempotency, IdempotencyConfig};
use http_body_util::{BodyExt as _, Full, StreamBody};
use tower::ServiceExt as _;

use super::rig::{KEY, Runs, layer, ms, one, order, over, request, send, shop};

/// What `/orders` answers, with a limit of 1,000 bytes for what is kept.
fn answering(
    runs: &Runs,
    response: impl Fn() -> Response<Body> + Clone + Send + Sync + 'static,
) -> axum::Router {
    let config = IdempotencyConfig::builder().max_response(1_000).build().unwrap();
    let recipe = Idempotency::new(
        std::sync::Arc::new(MemoryCache::default()),
        Keyspace::new("billing").unwrap(),
        config,
    );
    let runs = runs.clone();
    one(over(recipe), move || {
        runs.one_more();
        std::future::ready(response())
    })
}

fn parts(count: usize) -> Body {
    let parts = (0..count).map(|_| Ok::<_, Infallible>(Bytes::from_static(b"0123456789")));
    Body::from_stream(futures::stream::iter(parts))
}

#[tokio::test(start_paused = true)]
async fn a_request_over_the_limit_is_413_and_does_not_run() {
    let runs = Runs::default();
    let app = shop(layer().max_request(100), &runs);
    assert_eq!(send(&app, request(KEY, "t".repeat(100))).await.status, 201);
    for body in [Body::from("t".repeat(101)), parts(11)] {
        let answer = send(&app, request("another", body)).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (413, "idempotency-request-too-large")
        );
    }
    assert_eq!(runs.count(), 1);
    assert_eq!(send(&app, request("another", "tea")).await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn a_request_in_parts_is_the_same_as_one_in_one_piece() {
    let runs = Runs::default();
    let app = shop(layer(), &runs);
    send(&app, request(KEY, parts(3))).await;
    assert!(
        send(&app, request(KEY, "0123456789".repeat(3)))
            .await
            .is_replayed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_breaks_off_does_not_run_and_leaves_its_key_free() {
    let runs = Runs::default();
    let app = shop(layer(), &runs);
    let broken = futures::stream::iter([Ok("te"), Err(std::io::Error::other("reset"))]);
    let answer = send(&app, request(KEY, Body::from_stream(broken))).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (400, "idempotency-request-unreadable")
    );
    assert_eq!(runs.count(), 0);
    assert_eq!(order(&app).await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn a_response_in_parts_is_replayed_whole() {
    let runs = Runs::default();
    let app = answering(&runs, || Response::new(parts(7)));
    assert_eq!(order(&app).await.body, "0123456789".repeat(7));
    let replayed = order(&app).await;
    assert!(replayed.is_replayed());
    assert_eq!(replayed.body, "0123456789".repeat(7));
}

#[tokio::test(start_paused = true)]
async fn a_response_over_the_limit_is_passed_on_whole_and_not_run_again() {
    for sized in [true, false] {
        let runs = Runs::default();
        let large = move || {
            if sized {
                Body::from("0123456789".repeat(200))
            } else {
                parts(200)
            }
        };
        let app = answering(&runs, move || (StatusCode::CREATED, large()).into_response());
        let first = order(&app).await;
        assert_eq!((first.status, first.body.len()), (201, 2_000));
        assert_eq!(first.outcome, Some(IdempotencyOutcome::NotKept));

        let retry = order(&app).await;
        assert_eq!(
            (retry.status, retry.code().as_str()),
            (409, "idempotency-not-replayable")
        );
        assert!(retry.body.contains(r#""original-status":201"#), "{}", retry.body);
        assert!(!retry.headers.contains_key("retry-after"));
        let other = send(&app, request(KEY, "coffee")).await;
        assert_eq!(other.status, 422);
        assert_eq!(runs.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn head_and_body_share_the_room_and_a_retry_is_told_what_the_response_was() {
    for (length, kept) in [(400, true), (800, false)] {
        let runs = Runs::default();
        let app = answering(&runs, move || {
            let head = [("location", "/".repeat(400))];
            (StatusCode::CREATED, head, "x".repeat(length)).into_response()
        });
        assert_eq!(order(&app).await.body.len(), length);
        let retry = order(&app).await;
        assert_eq!(retry.status, if kept { 201 } else { 409 });
        let told = retry.body.contains(r#""original-status":201"#);
        assert_eq!(told, !kept, "{}", retry.body);
        assert_eq!(runs.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_has_no_room_is_not_kept() {
    let runs = Runs::default();
    let app = answering(&runs, || {
        ([("location", "/".repeat(2_000))], "small").into_response()
    });
    let first = order(&app).await;
    assert_eq!((first.status, first.body.as_str()), (200, "small"));
    assert_eq!(order(&app).await.code(), "idempotency-not-replayable");
    assert_eq!(runs.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_passed_on_as_it_comes() {
    let endless = || {
        let first = futures::stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"data: 1\n\n"))]);
        Body::from_stream(futures::StreamExt::chain(first, futures::stream::pending()))
    };
    for marked in [true, false] {
        let runs = Runs::default();
        let app = answering(&runs, move || {
            let mut response = Response::new(endless());
            if marked {
                response.extensions_mut().insert(NotKept);
            } else {
                let kind = "text/event-stream; charset=utf-8".parse().unwrap();
                response.headers_mut().insert("content-type", kind);
            }
            response
        });
        let response = app.clone().oneshot(request(KEY, "tea")).await.unwrap();
        assert_eq!(response.extensions().get(), Some(&IdempotencyOutcome::NotKept));
        let first = response.into_body().frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "data: 1\n\n");
        assert_eq!(order(&app).await.code(), "idempotency-not-replayable");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_with_trailers_keeps_them_and_is_not_replayed() {
    let runs = Runs::default();
    let app = answering(&runs, || {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", "7".parse().unwrap());
        let body = Full::new(Bytes::from("tea")).with_trailers(std::future::ready(Some(Ok(trailers))));
        Response::new(Body::new(body))
    });
    let response = app.clone().oneshot(request(KEY, "tea")).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-checksum"], "7");
    assert_eq!(collected.to_bytes(), "tea");
    assert_eq!(order(&app).await.code(), "idempotency-not-replayable");
}

#[tokio::test(start_paused = true)]
async fn a_response_that_breaks_off_is_passed_on_as_it_is_and_runs_again() {
    let runs = Runs::default();
    let app = answering(&runs, || {
        let frames = [
            Ok(http_body::Frame::data(Bytes::from("te"))),
            Err(std::io::Error::other("upstream reset")),
        ];
        Response::new(Body::new(StreamBody::new(futures::stream::iter(frames))))
    });
    for run in 1..=2 {
        let response = app.clone().oneshot(request(KEY, "tea")).await.unwrap();
        let mut body = response.into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "te");
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(runs.count(), run);
    }
}

#[tokio::test(start_paused = true)]
async fn the_handler_gets_the_body_that_was_sent() {
    let runs = Runs::default();
    let app = shop(layer(), &runs);
    let body = "größe".repeat(1_000);
    let answer = send(&app, request(KEY, body.clone())).await;
    assert_eq!(answer.body, format!("1 {body}"));
    tokio::time::sleep(ms(1)).await;
    assert_eq!(send(&app, request("empty", "")).await.body, "2 ");
}
