//! What is written down besides what was done: refusals. And whom a service vouches for.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use cache_admin::access::{Actor, Scope};
use cache_admin::jobs::{Audit, AuditSync, Jobs, JobsConfig};
use cache_admin::{Engine, MemoryKeys};
use cache_core::MemoryCache;
use tower::ServiceExt as _;

use crate::asking::Asked;

#[tokio::test]
async fn refused_logins_and_requests_are_in_the_audit_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let audit = Audit::open(&path, AuditSync::System).await.unwrap();
    let engine = Engine::new(MemoryKeys::new(Arc::new(MemoryCache::default())));
    let jobs = Jobs::open(engine, JobsConfig::default().with_audit(audit))
        .await
        .unwrap();
    let asked = Asked::with(|builder| builder.jobs(jobs)).await;
    let request = Request::builder()
        .uri("/cache?key=secret-name")
        .header("authorization", "Bearer not-a-token")
        .body(Body::empty())
        .unwrap();
    let answer = asked.router.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    asked.get("purger", "/cache").await.is(403, "forbidden");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&lines[0]["action"], &lines[0]["result"]),
        (&"login".into(), &"refused".into())
    );
    assert_eq!(
        (&lines[1]["action"], &lines[1]["who"]),
        (&"request".into(), &"purger".into())
    );
    assert_eq!(lines[1]["on"]["path"], "/cache");
    assert!(
        !text.contains("not-a-token") && !text.contains("secret-name"),
        "{text}"
    );
}

#[tokio::test]
async fn a_service_vouches_for_actors_with_grants_and_pages_of_other_sites_get_nothing() {
    let asked = Asked::new().await;
    asked.store(["billing:1".to_owned(), "users:1".to_owned()]).await;
    let ask = async |path: &str, origin: Option<&str>| {
        let actor = Actor::with_grants("jo", [(Scope::List, "billing:")]);
        let mut request = Request::builder()
            .uri(path)
            .header("host", "shop.example")
            .extension(actor);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let request = request.body(Body::empty()).unwrap();
        asked
            .router
            .clone()
            .oneshot(request)
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(ask("/cache?key=billing:1", None).await, 200);
    assert_eq!(ask("/cache?key=users:1", None).await, 403);
    assert_eq!(
        ask("/cache?key=billing:1", Some("https://shop.example")).await,
        200
    );
    assert_eq!(
        ask("/cache?key=billing:1", Some("https://evil.example")).await,
        403
    );
}
