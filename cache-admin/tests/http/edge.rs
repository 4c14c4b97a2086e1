//! What every request goes through: its id, panics, hosts and origins, mounting.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use cache_admin::access::Actor;
use cache_admin::http::AdminService;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::asking::Asked;

#[tokio::test]
async fn a_request_keeps_its_id_also_where_it_is_refused() {
    let asked = Asked::new().await;
    let with = async |id: &str, path: &str| {
        let request = asked.request("root", "GET", path).header("x-request-id", id);
        asked.send(request.body(Body::empty()).unwrap()).await
    };
    assert_eq!(
        with("deploy-7", "/cache").await.headers["x-request-id"],
        "deploy-7"
    );
    let refused = with("deploy-8", "/nowhere").await;
    assert_eq!(refused.headers["x-request-id"], "deploy-8");
    assert_eq!(refused.json["request_id"], "deploy-8");
    let made = with("no id", "/cache").await.headers["x-request-id"].clone();
    assert_ne!(made, "no id");
    assert_ne!(made, with("no id", "/cache").await.headers["x-request-id"]);
    let job = asked
        .send(
            asked
                .request("root", "DELETE", "/cache/pattern?pattern=a*")
                .header("x-request-id", "deploy-9")
                .body(Body::empty())
                .unwrap(),
        )
        .await;
    assert_eq!(job.json["actor"]["request_id"], "deploy-9");
}

#[tokio::test]
async fn a_handler_that_panics_is_a_500_and_tells_nothing() {
    let asked = Asked::with(|builder| builder.metrics(|| panic!("a secret"))).await;
    let answer = asked.get("root", "/metrics").await;
    answer.is(500, "internal");
    assert!(!answer.text.contains("secret"), "{}", answer.text);
    asked.get("root", "/cache").await.is_ok(200);
}

#[tokio::test]
async fn scrapes_see_the_process_and_the_requests() {
    let asked = Asked::with(|builder| builder.metrics(|| Ok("own 1\n".to_owned()))).await;
    asked.get("root", "/cache").await.is_ok(200);
    let scrape = asked.get("nobody", "/metrics").await;
    scrape.is_ok(200);
    assert!(scrape.text.starts_with("own 1\n"), "{}", scrape.text);
    let line = "cache_admin_requests_total{method=\"GET\",route=\"/cache\",status=\"200\"} 1\n";
    assert!(scrape.text.contains(line), "{}", scrape.text);
}

#[tokio::test]
async fn without_authentication_only_this_machine_and_its_own_pages_are_served() {
    let asked = Asked::open().await;
    asked.store(["a".to_owned()]).await;
    let send = async |method: &str, path: &str, headers: &[(&str, &str)]| {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        asked.send(request.body(Body::empty()).unwrap()).await
    };
    send("GET", "/cache", &[("host", "127.0.0.1:8377")])
        .await
        .is_ok(200);
    send(
        "GET",
        "/cache",
        &[("host", "localhost:8377"), ("origin", "http://localhost:8377")],
    )
    .await
    .is_ok(200);
    for path in ["/cache?key=a", "/health/live", "/openapi.json"] {
        send("GET", path, &[("host", "evil.example")])
            .await
            .is(403, "foreign-host");
        send("GET", path, &[]).await.is(403, "foreign-host");
        let cross = [("host", "localhost:8377"), ("origin", "http://evil.example")];
        send("GET", path, &cross).await.is(403, "foreign-origin");
        send(
            "GET",
            path,
            &[("host", "localhost"), ("sec-fetch-site", "cross-site")],
        )
        .await
        .is(403, "foreign-origin");
    }
    send(
        "DELETE",
        "/cache?key=a",
        &[("host", "localhost"), ("origin", "null")],
    )
    .await
    .is(403, "foreign-origin");
    send("DELETE", "/cache?key=a", &[("host", "evil.example")])
        .await
        .is(403, "foreign-host");
    assert_eq!(
        send("DELETE", "/cache?key=a", &[("host", "localhost")])
            .await
            .json["removed"],
        1
    );
    // A token cannot be sent by accident, so with one any name will do.
    let known = Asked::new().await;
    let request = known
        .request("root", "GET", "/cache")
        .header("origin", "https://console.example");
    known.send(request.body(Body::empty()).unwrap()).await.is_ok(200);
}

#[tokio::test]
async fn a_router_that_nobody_was_named_for_lets_in_only_whom_the_service_around_it_vouches_for() {
    let stack = cache_stack::assemble(&cache_core::CacheConfig::default())
        .await
        .unwrap();
    let service = AdminService::builder(&stack).build().await.unwrap();
    let ask = async |vouched: bool, token: Option<&str>| {
        let mut request = Request::get("/cache").header("host", "localhost:8377");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut request = request.body(Body::empty()).unwrap();
        if vouched {
            request.extensions_mut().insert(Actor::unrestricted("operator"));
        }
        service.router().oneshot(request).await.unwrap().status()
    };
    assert_eq!(ask(false, None).await, 401);
    assert_eq!(ask(false, Some("anything")).await, 401);
    assert_eq!(ask(true, None).await, 200);
}

#[tokio::test]
async fn mounted_below_a_path_it_is_the_same_and_believes_the_service_around_it() {
    let asked = Asked::new().await;
    let app = Router::new().nest("/ops/cache-admin", asked.service.router());
    let ask = async |path: &str, actor: Option<Actor>| {
        let mut request = Request::get(path).body(Body::empty()).unwrap();
        request.extensions_mut().extend(
            actor
                .map(|actor| {
                    let mut extensions = axum::http::Extensions::new();
                    extensions.insert(actor);
                    extensions
                })
                .unwrap_or_default(),
        );
        let response = app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        (parts, serde_json::from_slice::<Value>(&text).unwrap_or_default())
    };
    let (parts, document) = ask("/ops/cache-admin/openapi.json", None).await;
    assert_eq!(document["servers"][0]["url"], "/ops/cache-admin");
    assert!(parts.headers.contains_key("etag"));
    let (parts, _) = ask("/ops/cache-admin/cache", None).await;
    assert_eq!(parts.status, 401);
    let (parts, _) = ask("/ops/cache-admin/cache", Some(Actor::unrestricted("console"))).await;
    assert_eq!(parts.status, 200);
    let (parts, problem) = ask("/ops/cache-admin/nowhere", None).await;
    assert_eq!(
        (parts.status.as_u16(), &problem["status"]),
        (404, &Value::from(404))
    );
}

#[tokio::test]
async fn only_pages_of_configured_origins_may_read_answers() {
    const CONSOLE: &str = "https://console.example";
    let asked = Asked::with(|builder| builder.allowed_origins([CONSOLE])).await;
    let send = async |method: &str, origin: &str, vouched: bool| {
        let mut request = Request::builder()
            .method(method)
            .uri("/cache/pattern?pattern=a*")
            .header("host", "admin.example")
            .header("origin", origin);
        if method == "OPTIONS" {
            request = request
                .header("access-control-request-method", "DELETE")
                .header("access-control-request-headers", "authorization,idempotency-key");
        } else if !vouched {
            request = request.header("authorization", format!("Bearer {}", asked.token("root")));
        }
        let mut request = request.body(Body::empty()).unwrap();
        if vouched {
            request.extensions_mut().insert(Actor::unrestricted("by-cookie"));
        }
        asked.router.clone().oneshot(request).await.unwrap()
    };
    let preflight = send("OPTIONS", CONSOLE, false).await;
    assert_eq!(preflight.status(), 200);
    let header = |name: &str| preflight.headers()[name].to_str().unwrap().to_lowercase();
    assert_eq!(header("access-control-allow-origin"), CONSOLE);
    assert!(header("access-control-allow-methods").contains("delete"));
    assert!(header("access-control-allow-headers").contains("idempotency-key"));
    let answer = send("DELETE", CONSOLE, false).await;
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.headers()["access-control-allow-origin"], CONSOLE);
    for method in ["OPTIONS", "DELETE"] {
        let foreign = send(method, "https://evil.example", false).await;
        assert!(!foreign.headers().contains_key("access-control-allow-origin"));
    }
    // What the browser sends along by itself still counts for nothing.
    for origin in [CONSOLE, "https://evil.example"] {
        assert_eq!(send("DELETE", origin, true).await.status(), 403, "{origin}");
    }
    for answer in [
        send("DELETE", CONSOLE, false).await,
        send("OPTIONS", CONSOLE, false).await,
    ] {
        assert!(!answer.headers().contains_key("access-control-allow-credentials"));
    }

    let none = Asked::new().await;
    let request = none
        .request("root", "GET", "/cache")
        .header("origin", CONSOLE)
        .body(Body::empty())
        .unwrap();
    let answer = none.send(request).await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_page_elsewhere_gets_nothing_done_by_a_session_of_the_service() {
    let asked = Asked::new().await;
    asked.store(["a".to_owned()]).await;
    let send = async |method: &str, path: &str, headers: &[(&str, &str)]| {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "shop.example");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(Actor::unrestricted("by-cookie"));
        asked
            .router
            .clone()
            .oneshot(request)
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    let calls = [
        ("GET", "/cache?key=a"),
        ("DELETE", "/cache?key=a"),
        ("POST", "/cache/namespaces/billing/generation"),
    ];
    for (method, path) in calls {
        for headers in [
            &[("origin", "https://evil.example")][..],
            &[("origin", "null")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
        ] {
            assert_eq!(send(method, path, headers).await, 403, "{method} {headers:?}");
        }
    }
    let own = [
        ("origin", "https://shop.example"),
        ("sec-fetch-site", "same-origin"),
    ];
    assert_eq!(send("GET", "/cache?key=a", &own).await, 200);
}
