//! The cache is down: before the request, and while it runs.

use std::sync::Arc;

use axum::Extension;
use axum::routing::post;
use cache_core::{Keyspace, MemoryCache};
use cache_layers::http::{IdempotencyLayer, IdempotencyOutcome, Unprotected};
use cache_layers::idempotency::OnFailure;
use cache_layers::{Idempotency, IdempotencyConfig};
use cache_mock::{Fault, Faults, FaultyCache, Operation};

use super::rig::{Runs, layer, ms, order, over, shop};

fn faulty(on_failure: OnFailure) -> (IdempotencyLayer, Faults) {
    let cache = FaultyCache::new(MemoryCache::default());
    let faults = cache.faults().clone();
    let config = IdempotencyConfig::builder()
        .on_failure(on_failure)
        .build()
        .unwrap();
    let recipe = Idempotency::new(Arc::new(cache), Keyspace::new("billing").unwrap(), config);
    (over(recipe), faults)
}

#[tokio::test(start_paused = true)]
async fn without_the_cache_a_request_with_a_key_is_503_and_does_not_run() {
    let runs = Runs::default();
    let (layer, faults) = faulty(OnFailure::Refuse);
    let app = shop(layer, &runs);
    for down in [Fault::connection_lost(), Fault::Hang] {
        faults.always(Operation::ALL, &down);
        let answer = order(&app).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (503, "idempotency-unavailable")
        );
        assert_eq!(answer.headers["retry-after"], "1");
        assert_eq!(runs.count(), 0);
    }
    faults.heal();
    assert_eq!(order(&app).await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn where_chosen_it_runs_without_protection_and_says_so() {
    let (layer, faults) = faulty(OnFailure::RunUnprotected);
    let app = axum::Router::new()
        .route(
            "/orders",
            post(|mark: Option<Extension<Unprotected>>| async move { format!("{}", mark.is_some()) }),
        )
        .layer(layer);
    faults.always(Operation::ALL, &Fault::connection_lost());
    for _ in 0..2 {
        let answer = order(&app).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "true"));
        assert_eq!(answer.outcome, Some(IdempotencyOutcome::Unprotected));
    }
    faults.heal();
    assert_eq!(order(&app).await.body, "false");
    assert!(order(&app).await.is_replayed());
}

#[tokio::test(start_paused = true)]
async fn a_response_that_the_cache_does_not_take_at_once_is_given_and_stored_later() {
    let runs = Runs::default();
    let (layer, faults) = faulty(OnFailure::Refuse);
    let app = shop(layer, &runs);
    faults.always(&[Operation::CompareAndSet], &Fault::connection_lost());
    let answer = order(&app).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.outcome, Some(IdempotencyOutcome::Unconfirmed));
    assert_eq!(order(&app).await.status, 409, "it is not known to be over");
    faults.heal();
    tokio::time::sleep(ms(1_000)).await;
    assert!(order(&app).await.is_replayed());
    assert_eq!(runs.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_without_a_key_never_ask_the_cache() {
    let runs = Runs::default();
    let (layer, faults) = faulty(OnFailure::Refuse);
    let app = shop(layer, &runs);
    faults.always(Operation::ALL, &Fault::Hang);
    let request = axum::http::Request::post("/orders").body("tea".into()).unwrap();
    assert_eq!(super::rig::send(&app, request).await.status, 201);
    assert_eq!(faults.all_calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_shown_holds_a_payload() {
    let runs = Runs::default();
    let layer = layer();
    let app = shop(layer.clone(), &runs);
    order(&app).await;
    let shown = format!("{layer:?} {app:?}");
    assert!(!shown.contains("tea"), "{shown}");
}
