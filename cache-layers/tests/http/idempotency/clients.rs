//! Clients that leave, handlers that panic, services that fail.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use cache_layers::http::ResponseBody;
use futures::FutureExt as _;
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};

use super::rig::{KEY, Runs, layer, ms, one, order, request, shop};

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_cancels_nothing_and_its_retry_gets_the_response() {
    let runs = Runs::default();
    let app = shop(layer(), &runs);
    assert!(tokio::time::timeout(ms(50), order(&app)).await.is_err());
    assert_eq!(runs.count(), 0);
    assert_eq!(order(&app).await.status, 409);
    tokio::time::sleep(ms(100)).await;
    let replayed = order(&app).await;
    assert!(replayed.is_replayed());
    assert_eq!((replayed.body.as_str(), runs.count()), ("1 tea", 1));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_panics_on_and_gives_its_key_back() {
    let runs = Runs::default();
    let counted = runs.clone();
    let app = one(layer(), move || {
        let run = counted.one_more();
        async move {
            assert_ne!(run, 1, "on purpose");
            "second"
        }
    });
    let panicked = std::panic::AssertUnwindSafe(order(&app)).catch_unwind().await;
    assert!(panicked.is_err(), "an outer layer has to see it");
    tokio::time::sleep(ms(1)).await;
    assert_eq!(order(&app).await.body, "second");
    assert_eq!(runs.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_service_is_passed_on_and_gives_its_key_back() {
    let runs = Runs::default();
    let counted = runs.clone();
    let service = service_fn(move |_: Request<Body>| {
        let run = counted.one_more();
        async move {
            if run == 1 {
                Err(std::io::Error::other("upstream is down"))
            } else {
                Ok(axum::http::Response::new(Body::from("second")))
            }
        }
    });
    let service = layer().layer(service);
    let error = service.clone().oneshot(request(KEY, "tea")).await.unwrap_err();
    assert_eq!(error.to_string(), "upstream is down");
    let response = service.oneshot(request(KEY, "tea")).await.unwrap();
    let body: ResponseBody<Body> = response.into_body();
    let body = axum::body::to_bytes(Body::new(body), 100).await.unwrap();
    assert_eq!(body, "second");
}

#[tokio::test(start_paused = true)]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    // One that panics where it is called without having been asked whether it is ready.
    let limited = tower::ServiceBuilder::new()
        .layer(layer())
        .concurrency_limit(1)
        .service(service_fn(|_: Request<Body>| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, std::convert::Infallible>(axum::http::Response::new(Body::empty()))
        }));
    let calls = (0..3).map(|number| {
        let mut service = limited.clone();
        async move {
            let key = number.to_string();
            service.ready().await.unwrap();
            service.call(request(&key, "tea")).await.unwrap().status()
        }
    });
    for status in futures::future::join_all(calls).await {
        assert_eq!(status, 200);
    }
}
