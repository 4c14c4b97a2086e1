//! Who runs, who waits, who gets the response again.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, Request, StatusCode};
use cache_core::MemoryCache;
use cache_layers::http::{IdempotencyLayer, IdempotencyOutcome};

use super::rig::{KEY, Runs, layer, ms, one, order, recipe, request, send, shop};

#[tokio::test(start_paused = true)]
async fn of_concurrent_first_requests_one_runs_the_others_are_told_409_and_get_its_response_later() {
    let runs = Runs::default();
    let app = shop(layer(), &runs);
    let answers = futures::future::join_all((0..100).map(|_| order(&app))).await;
    let (ran, told): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!((ran.len(), told.len(), runs.count()), (1, 99, 1));
    assert_eq!(ran[0].outcome, Some(IdempotencyOutcome::Stored));
    assert!(!ran[0].is_replayed());
    for answer in told {
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (409, "idempotency-in-progress")
        );
        assert_eq!(answer.headers["retry-after"], "1");
        assert_eq!(answer.outcome, Some(IdempotencyOutcome::Refused));
    }

    let replayed = order(&app).await;
    assert_eq!((replayed.status, replayed.body.as_str()), (201, "1 tea"));
    assert_eq!(replayed.body, ran[0].body);
    assert_eq!(replayed.headers["location"], "/orders/1");
    assert_eq!(replayed.headers["content-type"], ran[0].headers["content-type"]);
    assert!(replayed.is_replayed());
    assert_eq!(replayed.outcome, Some(IdempotencyOutcome::Replayed));
    assert_eq!(runs.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_body_target_or_method_under_the_same_key_is_422() {
    let runs = Runs::default();
    let app = shop(layer(), &runs);
    order(&app).await;
    let with = |method: &str, target: &str, body: &'static str| {
        Request::builder()
            .method(method)
            .uri(target)
            .header("idempotency-key", KEY)
            .body(Body::from(body))
            .unwrap()
    };
    for other in [
        with("POST", "/orders", "coffee"),
        with("POST", "/orders", ""),
        with("POST", "/refunds", "tea"),
        with("POST", "/orders?express", "tea"),
        with("PATCH", "/orders", "tea"),
    ] {
        let answer = send(&app, other).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (422, "idempotency-mismatch")
        );
    }
    assert!(send(&app, with("POST", "/orders", "tea")).await.is_replayed());
    assert_eq!(runs.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_failed_runs_again_and_what_was_refused_for_good_does_not() {
    for (status, runs_again) in [
        (500, true),
        (502, true),
        (503, true),
        (599, true),
        (401, true),
        (408, true),
        (429, true),
        (200, false),
        (204, false),
        (303, false),
        (400, false),
        (403, false),
        (404, false),
        (409, false),
        (422, false),
    ] {
        let runs = Runs::default();
        let counted = runs.clone();
        let app = one(layer(), move || {
            counted.one_more();
            std::future::ready(StatusCode::from_u16(status).unwrap())
        });
        let first = order(&app).await;
        let second = order(&app).await;
        assert_eq!((first.status, second.status), (status, status));
        assert_eq!(runs.count(), if runs_again { 2 } else { 1 }, "{status}");
        assert_eq!(second.is_replayed(), !runs_again, "{status}");
        let outcome = if runs_again {
            IdempotencyOutcome::Released
        } else {
            IdempotencyOutcome::Stored
        };
        assert_eq!(first.outcome, Some(outcome), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn which_responses_are_kept_can_be_chosen() {
    let runs = Runs::default();
    let counted = runs.clone();
    let layer = layer().keep(|status| status.is_success() || status == StatusCode::BAD_GATEWAY);
    let app = one(layer, move || {
        counted.one_more();
        std::future::ready(StatusCode::BAD_GATEWAY)
    });
    order(&app).await;
    assert!(order(&app).await.is_replayed());
    assert_eq!(runs.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_response_lives_a_day_and_then_the_request_runs_again() {
    const DAY: Duration = Duration::from_secs(86_400);
    let runs = Runs::default();
    let app = shop(layer(), &runs);
    order(&app).await;
    tokio::time::sleep(DAY - ms(1)).await;
    assert!(order(&app).await.is_replayed());
    tokio::time::sleep(ms(1)).await;
    assert_eq!(order(&app).await.body, "2 tea");
}

#[tokio::test(start_paused = true)]
async fn only_the_chosen_header_lines_are_replayed() {
    let runs = Runs::default();
    let app = shop(layer(), &runs);
    assert_eq!(order(&app).await.headers["x-trace"], "1");
    let replayed = order(&app).await;
    assert!(!replayed.headers.contains_key("x-trace"));

    let app = shop(layer().headers([HeaderName::from_static("x-trace")]), &runs);
    order(&app).await;
    let replayed = order(&app).await;
    assert_eq!(replayed.headers["x-trace"], "1");
    assert!(!replayed.headers.contains_key("location"));
}

#[tokio::test(start_paused = true)]
async fn two_scopes_never_see_each_others_requests() {
    let runs = Runs::default();
    let layer = IdempotencyLayer::new(recipe(Arc::new(MemoryCache::default())), |request| {
        let tenant = request.headers.get("x-tenant")?;
        tenant.to_str().ok().map(str::to_owned)
    });
    let app = shop(layer, &runs);
    let by = |tenant: &'static str| {
        let mut request = request(KEY, tenant);
        request.headers_mut().insert("x-tenant", tenant.parse().unwrap());
        request
    };
    assert_eq!(send(&app, by("acme")).await.body, "1 acme");
    assert_eq!(send(&app, by("globex")).await.body, "2 globex");
    assert_eq!(send(&app, by("acme")).await.body, "1 acme");
    assert_eq!(send(&app, by("globex")).await.body, "2 globex");
    assert_eq!(runs.count(), 2);

    let nobody = order(&app).await;
    assert_eq!(
        (nobody.status, nobody.code().as_str()),
        (400, "idempotency-scope-missing")
    );
    assert_eq!(runs.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_retry_while_it_runs_reaches_no_handler_however_late() {
    let runs = Runs::default();
    let counted = runs.clone();
    let app = one(layer(), move || {
        let counted = counted.clone();
        async move {
            counted.one_more();
            tokio::time::sleep(Duration::from_secs(300)).await;
        }
    });
    let running = tokio::spawn({
        let app = app.clone();
        async move { order(&app).await }
    });
    for _ in 0..29 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(order(&app).await.status, 409);
    }
    assert_eq!(running.await.unwrap().status, 200);
    assert!(order(&app).await.is_replayed());
    assert_eq!(runs.count(), 1);
}
