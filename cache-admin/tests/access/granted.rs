//! Every scope and every prefix at every route: who lacks one of them is refused, who has it is not.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use cache_admin::access::{Access, Scope, Token};
use cache_admin::http::AdminService;
use cache_core::CacheConfig;
use tower::ServiceExt as _;

/// A request, and the scopes that it needs, all of them for the keys that begin with this.
struct Door {
    method: &'static str,
    path: &'static str,
    body: &'static str,
    needs: &'static [Scope],
    within: &'static str,
}

const fn door(
    method: &'static str,
    path: &'static str,
    body: &'static str,
    needs: &'static [Scope],
    within: &'static str,
) -> Door {
    Door {
        method,
        path,
        body,
        needs,
        within,
    }
}

const COUNT: &str = r#"{"patterns":["billing:*"],"mode":"count"}"#;
const TRY: &str = r#"{"patterns":["billing:a*"],"mode":"dry_run"}"#;
const REMOVE: &str = r#"{"patterns":["billing:[ab]*"],"mode":"execute"}"#;
const SECOND: &str = r#"{"patterns":["billing:*","users:*"],"mode":"execute"}"#;

const DOORS: [Door; 21] = [
    door("GET", "/cache?key=billing:1", "", &[Scope::List], "billing:"),
    door(
        "GET",
        "/cache?key_base64=YmlsbGluZzox",
        "",
        &[Scope::List],
        "billing:",
    ),
    door(
        "GET",
        "/cache?key=billing:1&value=true",
        "",
        &[Scope::List, Scope::Value],
        "billing:",
    ),
    door(
        "DELETE",
        "/cache?key=billing:1",
        "",
        &[Scope::Invalidate],
        "billing:",
    ),
    door(
        "DELETE",
        "/cache?key_base64=YmlsbGluZzox",
        "",
        &[Scope::Invalidate],
        "billing:",
    ),
    door(
        "GET",
        "/cache/keys?pattern=billing:*",
        "",
        &[Scope::List],
        "billing:",
    ),
    door(
        "GET",
        "/cache/keys?pattern_base64=YmlsbGluZzoq",
        "",
        &[Scope::List],
        "billing:",
    ),
    door("GET", "/cache/keys", "", &[Scope::List], ""),
    door("GET", "/cache/keys?pattern=b*", "", &[Scope::List], "b"),
    door("POST", "/cache/pattern", COUNT, &[Scope::List], "billing:"),
    door("POST", "/cache/pattern", TRY, &[Scope::List], "billing:"),
    door("POST", "/cache/pattern", REMOVE, &[Scope::Purge], "billing:"),
    // Of several patterns each has to be granted.
    door("POST", "/cache/pattern", SECOND, &[Scope::Purge], ""),
    door(
        "DELETE",
        "/cache/pattern?pattern=billing:*",
        "",
        &[Scope::Purge],
        "billing:",
    ),
    door(
        "POST",
        "/cache/namespaces/billing/generation",
        "",
        &[Scope::Purge],
        "billing:",
    ),
    door(
        "GET",
        "/cache/namespaces/billing/generation",
        "",
        &[Scope::List],
        "billing:",
    ),
    door(
        "GET",
        "/cache/big-keys?pattern=billing:*",
        "",
        &[Scope::List],
        "billing:",
    ),
    door(
        "GET",
        "/cache/big-keys?pattern_base64=YmlsbGluZzoq",
        "",
        &[Scope::List],
        "billing:",
    ),
    door("GET", "/cache/big-keys", "", &[Scope::List], ""),
    door(
        "GET",
        "/cache/doctor?prefix=billing:",
        "",
        &[Scope::List, Scope::Invalidate, Scope::Acl],
        "billing:",
    ),
    door(
        "GET",
        "/cache/doctor",
        "",
        &[Scope::List, Scope::Invalidate, Scope::Acl],
        "cachectl-doctor:",
    ),
];

/// The grants that are tried at a door, and whether they open it.
fn grants(door: &Door) -> Vec<(String, bool)> {
    let of = |scopes: &[Scope], prefix: &str| {
        let lines = scopes.iter().map(|scope| format!("{scope} = [\"{prefix}\"]\n"));
        lines.collect::<String>()
    };
    let mut tried = vec![
        (of(door.needs, door.within), true),
        (of(door.needs, ""), true),
        (of(&Scope::ALL, door.within), true),
        (String::new(), false),
        (of(&Scope::ALL, "users:"), false),
        // Longer than what is asked for, and the same but for its case.
        (of(&Scope::ALL, &format!("{}[", door.within)), false),
        (of(&Scope::ALL, "Billing:"), false),
    ];
    if !door.within.is_empty() {
        let shorter = &door.within[..door.within.len() - 1];
        tried.push((of(door.needs, shorter), true));
    }
    for missing in door.needs {
        let others: Vec<Scope> = Scope::ALL.into_iter().filter(|scope| scope != missing).collect();
        // Everything else for every key, and the one that is needed for other keys.
        tried.push((of(&others, ""), false));
        tried.push((of(&others, "") + &of(&[*missing], "users:"), false));
    }
    tried
}

struct Service {
    router: Router,
    tokens: Vec<String>,
}

impl Service {
    /// With an actor for each of these grants.
    async fn with(grants: impl IntoIterator<Item = String>) -> Self {
        let mut text = String::new();
        let mut tokens = Vec::new();
        for (number, grants) in grants.into_iter().enumerate() {
            let token = Token::generate().expect("a token");
            text += &format!(
                "[actors.a{number}]\ntokens = [{{ hash = \"{}\" }}]\n[actors.a{number}.grants]\n{grants}",
                token.hash()
            );
            tokens.push(token.expose().clone());
        }
        let access = Arc::new(Access::from_toml(&text).expect("actors"));
        let stack = cache_stack::assemble(&CacheConfig::default())
            .await
            .expect("a cache");
        let service = AdminService::builder(&stack).access(access).build().await;
        Self {
            router: service.expect("a service").router(),
            tokens,
        }
    }

    async fn ask(&self, actor: usize, method: &str, path: &str, body: &str) -> (StatusCode, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1")
            .header("authorization", format!("Bearer {}", self.tokens[actor]))
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()))
            .expect("a request");
        let answer = self.router.clone().oneshot(request).await.expect("an answer");
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20)
            .await
            .expect("a body");
        (status, String::from_utf8_lossy(&body).into_owned())
    }
}

#[tokio::test]
async fn each_scope_and_each_prefix_is_needed_at_each_route_and_no_more_than_that() {
    let tried: Vec<(&Door, String, bool)> = DOORS
        .iter()
        .flat_map(|door| {
            grants(door)
                .into_iter()
                .map(move |(grants, opens)| (door, grants, opens))
        })
        .collect();
    let service = Service::with(tried.iter().map(|(_, grants, _)| grants.clone())).await;
    for (actor, (door, grants, opens)) in tried.iter().enumerate() {
        let (status, body) = service.ask(actor, door.method, door.path, door.body).await;
        let refused = status == StatusCode::FORBIDDEN;
        let about = format!(
            "{} {} {} with {grants:?}: {status} {body}",
            door.method, door.path, door.body
        );
        assert_eq!(refused, !opens, "{about}");
        // What the embedded cache cannot do is no refusal.
        let failed = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
        assert!(status != StatusCode::UNAUTHORIZED && !failed, "{about}");
    }
}

#[tokio::test]
async fn a_job_is_steered_by_those_who_could_have_begun_it_and_seen_by_those_who_may_see_its_keys() {
    let grants = [
        "purge = [\"billing:\"]\n",
        "list = [\"billing:\"]\n",
        "list = [\"users:\"]\npurge = [\"users:\"]\n",
        "list = [\"\"]\nvalue = [\"\"]\ninvalidate = [\"\"]\nacl = [\"\"]\n",
        "purge = [\"bill\"]\n",
        "purge = [\"billing:a\"]\n",
        "",
    ];
    let service = Service::with(grants.map(str::to_owned)).await;
    let (status, job) = service.ask(0, "POST", "/cache/pattern", REMOVE).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    let job: serde_json::Value = serde_json::from_str(&job).expect("JSON");
    let path = format!("/cache/jobs/{}", job["id"].as_str().expect("an id"));
    let sees = [true, true, false, true, true, false, false];
    let steers = [true, false, false, false, true, false, false];
    for actor in 0..grants.len() {
        let (status, body) = service.ask(actor, "GET", &path, "").await;
        assert_eq!(
            status == StatusCode::OK,
            sees[actor],
            "{}: {status} {body}",
            grants[actor]
        );
        for step in ["pause", "resume", "cancel"] {
            let (status, body) = service.ask(actor, "POST", &format!("{path}/{step}"), "").await;
            let refused = matches!(status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND);
            assert_eq!(
                refused, !steers[actor],
                "{step} {}: {status} {body}",
                grants[actor]
            );
        }
        let (_, list) = service.ask(actor, "GET", "/cache/jobs", "").await;
        assert_eq!(
            list.contains(&path[12..]),
            sees[actor],
            "{}: {list}",
            grants[actor]
        );
    }
}

/// What a dry run drew are names of keys.
#[tokio::test]
async fn a_job_that_lists_is_seen_by_those_who_may_list_only() {
    let grants = ["list = [\"billing:\"]\n", "purge = [\"\"]\n"];
    let service = Service::with(grants.map(str::to_owned)).await;
    let (status, job) = service.ask(0, "POST", "/cache/pattern", TRY).await;
    assert!(status.is_success(), "{job}");
    let job: serde_json::Value = serde_json::from_str(&job).expect("JSON");
    let path = format!("/cache/jobs/{}", job["id"].as_str().expect("an id"));
    assert_eq!(service.ask(0, "GET", &path, "").await.0, StatusCode::OK);
    assert_eq!(service.ask(1, "GET", &path, "").await.0, StatusCode::NOT_FOUND);
    assert!(
        !service
            .ask(1, "GET", "/cache/jobs", "")
            .await
            .1
            .contains(&path[12..])
    );
}

#[tokio::test]
async fn what_needs_no_scope_needs_a_token_all_the_same_health_and_the_description_apart() {
    let service = Service::with([String::new()]).await;
    for (path, open) in [
        ("/metrics", false),
        ("/cache", false),
        ("/cache/jobs", false),
        ("/cache/pulse", false),
        ("/health/live", true),
        ("/openapi.json", true),
    ] {
        let request = Request::builder()
            .uri(path)
            .body(Body::empty())
            .expect("a request");
        let answer = service.router.clone().oneshot(request).await.expect("an answer");
        assert_eq!(answer.status() == StatusCode::UNAUTHORIZED, !open, "{path}");
    }
}
