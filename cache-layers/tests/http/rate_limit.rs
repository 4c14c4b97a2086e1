//! `RateLimitLayer`, as a client sees it. How exactly is counted is tested with the limiter itself.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use axum::routing::any;
use cache_core::clock::{self, Instant};
use cache_core::{Keyspace, MemoryCache};
use cache_layers::http::{IdempotencyLayer, RateLimitLayer, RateLimitPolicy};
use cache_layers::rate_limiter::OnError;
use cache_layers::{Idempotency, IdempotencyConfig, Quota, RateLimiter, RateLimiterConfig, WallClock};
use cache_mock::{Fault, Faults, FaultyCache, Operation};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

const MINUTE: Duration = Duration::from_secs(60);

/// A time of day that goes with virtual time, and begins with a minute.
#[derive(Debug)]
struct VirtualClock(Instant);

impl WallClock for VirtualClock {
    fn since_epoch(&self) -> Duration {
        MINUTE * 28_000_000 + (clock::now() - self.0)
    }
}

fn limiter(on_error: OnError) -> (RateLimiter, Faults) {
    let cache = FaultyCache::new(MemoryCache::default());
    let faults = cache.faults().clone();
    let config = RateLimiterConfig::builder()
        .clock(Arc::new(VirtualClock(clock::now())))
        .on_error(on_error)
        .build()
        .unwrap();
    (RateLimiter::new(Arc::new(cache), config), faults)
}

fn policy(name: &str, limit: u64) -> RateLimitPolicy {
    RateLimitPolicy::new(name, Quota::fixed(limit, MINUTE)).unwrap()
}

fn layer(limiter: RateLimiter, policy: RateLimitPolicy) -> RateLimitLayer {
    RateLimitLayer::new(limiter, Keyspace::new("billing").unwrap(), policy)
}

fn app(layer: RateLimitLayer) -> Router {
    Router::new().route("/", any(|| async { "served" })).layer(layer)
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn problem(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/problem+json");
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A request by `tenant`, if any.
async fn ask(app: &Router, tenant: &str) -> Answer {
    let mut request = Request::post("/");
    if !tenant.is_empty() {
        request = request.header("x-tenant", tenant);
    }
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await;
    let (parts, body) = response.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

fn tenant(request: &axum::http::request::Parts) -> Option<String> {
    let tenant = request.headers.get("x-tenant")?;
    tenant.to_str().ok().map(str::to_owned)
}

#[tokio::test(start_paused = true)]
async fn each_response_says_what_is_allowed_and_what_is_left() {
    let (limiter, _) = limiter(OnError::Fail);
    let app = app(layer(limiter, policy("default", 3)));
    for left in ["2", "1", "0"] {
        let answer = ask(&app, "").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "served"));
        assert_eq!(answer.header("ratelimit-policy"), r#""default";q=3;w=60"#);
        assert_eq!(answer.header("ratelimit"), format!(r#""default";r={left};t=60"#));
        assert!(!answer.headers.contains_key("retry-after"));
    }
}

#[tokio::test(start_paused = true)]
async fn beyond_the_quota_it_is_429_until_the_time_that_it_says() {
    let (limiter, _) = limiter(OnError::Fail);
    let app = app(layer(limiter, policy("default", 2)));
    tokio::time::sleep(Duration::from_millis(15_500)).await;
    ask(&app, "").await;
    ask(&app, "").await;
    let denied = ask(&app, "").await;
    assert_eq!(denied.status, 429);
    assert_eq!(denied.header("retry-after"), "45", "44.5 s, rounded up");
    assert_eq!(denied.header("ratelimit"), r#""default";r=0;t=45"#);
    let problem = denied.problem();
    assert_eq!(
        problem["type"],
        "https://iana.org/assignments/http-problem-types#quota-exceeded"
    );
    assert_eq!(problem["violated-policies"], serde_json::json!(["default"]));
    assert_eq!(problem["code"], "quota-exceeded");

    tokio::time::sleep(Duration::from_secs(44)).await;
    assert_eq!(ask(&app, "").await.status, 429);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ask(&app, "").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn of_a_sliding_window_a_denied_request_is_told_when_it_would_be_allowed_not_when_all_is_there_again() {
    let (limiter, _) = limiter(OnError::Fail);
    let sliding = RateLimitPolicy::new("default", Quota::sliding(2, MINUTE)).unwrap();
    let app = app(layer(limiter, sliding));
    ask(&app, "").await;
    assert_eq!(ask(&app, "").await.header("ratelimit"), r#""default";r=0;t=120"#);
    let denied = ask(&app, "").await;
    assert_eq!(denied.header("ratelimit"), r#""default";r=0;t=90"#);
    assert_eq!(denied.header("retry-after"), "90");
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(ask(&app, "").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn of_many_requests_at_once_exactly_the_limit_is_served() {
    let (limiter, _) = limiter(OnError::Fail);
    let app = app(layer(limiter, policy("default", 30)));
    let answers = futures::future::join_all((0..100).map(|_| ask(&app, ""))).await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(served, 30);
}

#[tokio::test(start_paused = true)]
async fn subjects_count_by_themselves_and_nobody_s_requests_not_at_all() {
    let (limiter, faults) = limiter(OnError::Fail);
    let app = app(layer(limiter, policy("default", 1)).subject(tenant));
    for subject in ["acme", "globex", "acme:", "%"] {
        assert_eq!(ask(&app, subject).await.status, 200, "{subject}");
        assert_eq!(ask(&app, subject).await.status, 429, "{subject}");
    }
    let calls = faults.all_calls();
    for _ in 0..3 {
        let answer = ask(&app, "").await;
        assert_eq!(answer.status, 200);
        assert!(!answer.headers.contains_key("ratelimit-policy"));
    }
    assert_eq!(faults.all_calls(), calls);
}

#[tokio::test(start_paused = true)]
async fn a_request_has_the_policy_of_its_tier() {
    let (limiter, _) = limiter(OnError::Fail);
    let layer = layer(limiter, policy("free", 1))
        .subject(tenant)
        .policy(|request| {
            let paid = tenant(request)?.starts_with("paid");
            paid.then(|| policy("paid", 2))
        });
    let app = app(layer);
    assert_eq!(
        ask(&app, "acme").await.header("ratelimit-policy"),
        r#""free";q=1;w=60"#
    );
    assert_eq!(ask(&app, "acme").await.status, 429);
    assert_eq!(
        ask(&app, "paid-acme").await.header("ratelimit-policy"),
        r#""paid";q=2;w=60"#
    );
    assert_eq!(ask(&app, "paid-acme").await.status, 200);
    assert_eq!(ask(&app, "paid-acme").await.status, 429);
}

#[tokio::test(start_paused = true)]
async fn several_policies_all_have_to_allow_and_all_are_told() {
    let (limiter, _) = limiter(OnError::Fail);
    let app = app(layer(limiter.clone(), policy("burst", 1))).layer(layer(limiter, policy("daily", 5)));
    let all = |answer: &Answer, name: &str| {
        let lines = answer.headers.get_all(name).iter();
        lines
            .map(|line| line.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let served = ask(&app, "").await;
    assert_eq!(
        all(&served, "ratelimit"),
        [r#""burst";r=0;t=60"#, r#""daily";r=4;t=60"#]
    );
    let denied = ask(&app, "").await;
    assert_eq!(denied.status, 429);
    assert_eq!(
        denied.problem()["violated-policies"],
        serde_json::json!(["burst"])
    );
    assert_eq!(
        all(&denied, "ratelimit-policy"),
        [r#""burst";q=1;w=60"#, r#""daily";q=5;w=60"#]
    );
}

#[tokio::test(start_paused = true)]
async fn without_the_cache_it_is_as_the_limiter_says_and_no_count_is_made_up() {
    for (on_error, status) in [(OnError::Allow, 200), (OnError::Deny, 503), (OnError::Fail, 503)] {
        let (limiter, faults) = limiter(on_error);
        let app = app(layer(limiter, policy("default", 1)));
        faults.always(Operation::ALL, &Fault::connection_lost());
        for _ in 0..3 {
            let answer = ask(&app, "").await;
            assert_eq!(answer.status, status, "{on_error:?}");
            assert_eq!(answer.header("ratelimit-policy"), r#""default";q=1;w=60"#);
            assert!(!answer.headers.contains_key("ratelimit"));
            if status == 503 {
                assert_eq!(answer.header("retry-after"), "1");
                assert_eq!(answer.problem()["code"], "rate-limit-unavailable");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_denied_request_does_not_take_its_idempotency_key() {
    let (limiter, _) = limiter(OnError::Fail);
    let recipe = Idempotency::new(
        Arc::new(MemoryCache::default()),
        Keyspace::new("billing").unwrap(),
        IdempotencyConfig::default(),
    );
    let app = Router::new()
        .route("/", any(|| async { "served" }))
        .layer(IdempotencyLayer::new(recipe, |_| Some(String::new())))
        .layer(layer(limiter, policy("default", 1)));
    let send = async |key: &str| {
        let request = Request::post("/").header("idempotency-key", key);
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await;
        response.unwrap()
    };
    assert_eq!(send("first").await.status(), 200);
    assert_eq!(send("second").await.status(), 429);
    tokio::time::sleep(MINUTE).await;
    let second = send("second").await;
    assert_eq!(second.status(), 200);
    assert!(!second.headers().contains_key("idempotency-replayed"));
}
