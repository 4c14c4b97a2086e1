//! A service to ask, actors to ask as, and the check of every answer against the description.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use cache_admin::access::{Access, Token};
use cache_admin::http::{AdminService, AdminServiceBuilder};
use cache_core::{CacheClient as _, CacheConfig, Ttl};
use cache_stack::Stack;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::schema;

/// A service on an embedded cache, with the actors of [`ACTORS`].
pub(crate) struct Asked {
    pub(crate) stack: Stack,
    pub(crate) service: AdminService,
    pub(crate) router: Router,
    document: Value,
    tokens: Vec<(&'static str, String)>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) json: Value,
}

/// Names and grants: everything, one scope each, one prefix only, nothing but a name.
const ACTORS: [(&str, &str); 8] = [
    (
        "root",
        "list = [\"\"]\nvalue = [\"\"]\ninvalidate = [\"\"]\npurge = [\"\"]",
    ),
    ("other-root", "list = [\"\"]\npurge = [\"\"]"),
    ("lister", "list = [\"\"]"),
    ("purger", "purge = [\"\"]"),
    (
        "billing",
        "list = [\"billing:\"]\nvalue = [\"billing:\"]\ninvalidate = [\"billing:\"]\npurge = [\"billing:\"]",
    ),
    ("users", "list = [\"users:\"]\npurge = [\"users:\"]"),
    (
        "doctor",
        "list = [\"cachectl-doctor:\"]\ninvalidate = [\"cachectl-doctor:\"]\nacl = [\"cachectl-doctor:\"]",
    ),
    ("nobody", "acl = [\"\"]"),
];

impl Asked {
    pub(crate) async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    pub(crate) async fn with(more: impl FnOnce(AdminServiceBuilder) -> AdminServiceBuilder) -> Self {
        Self::of(CacheConfig::default(), more).await
    }

    pub(crate) async fn of(
        config: CacheConfig,
        more: impl FnOnce(AdminServiceBuilder) -> AdminServiceBuilder,
    ) -> Self {
        let mut text = String::new();
        let mut tokens = Vec::new();
        for (name, grants) in ACTORS {
            let token = Token::generate().unwrap();
            text.push_str(&format!(
                "[actors.{name}]\ntokens = [{{ hash = \"{}\" }}]\n[actors.{name}.grants]\n{grants}\n",
                token.hash()
            ));
            tokens.push((name, token.expose().clone()));
        }
        let access = Arc::new(Access::from_toml(&text).unwrap());
        let stack = cache_stack::assemble(&config).await.unwrap();
        let builder = AdminService::builder(&stack).access(access);
        let service = more(builder).build().await.unwrap();
        Self {
            document: serde_json::from_str(&service.openapi()).unwrap(),
            router: service.router(),
            service,
            stack,
            tokens,
        }
    }

    /// A service that anybody may ask.
    pub(crate) async fn open() -> Self {
        Self::with(|builder| builder.access(Arc::new(Access::open()))).await
    }

    pub(crate) const fn document(&self) -> &Value {
        &self.document
    }

    pub(crate) async fn store(&self, keys: impl IntoIterator<Item = String>) {
        for key in keys {
            self.stack
                .client
                .set(&key, "x".into(), Ttl::Forever)
                .await
                .unwrap();
        }
    }

    pub(crate) fn token(&self, actor: &str) -> &str {
        let found = self.tokens.iter().find(|(name, _)| *name == actor);
        found.map(|(_, token)| token.as_str()).unwrap()
    }

    /// A request by this actor.
    pub(crate) fn request(&self, actor: &str, method: &str, path: &str) -> axum::http::request::Builder {
        let bearer = format!("Bearer {}", self.token(actor));
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, bearer)
            .header(header::HOST, "localhost")
    }

    pub(crate) async fn get(&self, actor: &str, path: &str) -> Answer {
        self.send(self.request(actor, "GET", path).body(Body::empty()).unwrap())
            .await
    }

    pub(crate) async fn delete(&self, actor: &str, path: &str) -> Answer {
        self.send(self.request(actor, "DELETE", path).body(Body::empty()).unwrap())
            .await
    }

    pub(crate) async fn post(&self, actor: &str, path: &str, body: &Value) -> Answer {
        let request = self
            .request(actor, "POST", path)
            .header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap())
            .await
    }

    /// Sends a request, waits for the whole answer, and holds it against the description.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let answer = Answer {
            status: parts.status,
            json: serde_json::from_str(&text).unwrap_or(Value::Null),
            headers: parts.headers,
            text,
        };
        self.check(&method, &path, &answer);
        answer
    }

    fn check(&self, method: &Method, path: &str, answer: &Answer) {
        let at = format!("{method} {path} {}", answer.status);
        for (name, value) in [("x-content-type-options", "nosniff"), ("x-frame-options", "DENY")] {
            assert_eq!(answer.headers[name], value, "{at}");
        }
        assert!(answer.headers.contains_key("x-request-id"), "{at}");
        let kept = answer.headers.contains_key(header::ETAG);
        let expected = if kept { "private, no-cache" } else { "no-store" };
        assert_eq!(answer.headers[header::CACHE_CONTROL], expected, "{at}");
        let refused = answer.status.is_client_error() || answer.status.is_server_error();
        if refused {
            assert_eq!(
                answer.headers[header::CONTENT_TYPE],
                "application/problem+json",
                "{at}"
            );
            let found = schema::wrong(
                &self.document,
                &serde_json::json!({ "$ref": "#/components/schemas/Problem" }),
                &answer.json,
                "problem",
            );
            assert!(
                found.is_empty() && answer.json["status"] == answer.status.as_u16(),
                "{at}: {found:?}"
            );
        }
        let Some(operation) = self.operation(method, path) else {
            let expected = [
                StatusCode::NOT_FOUND,
                StatusCode::METHOD_NOT_ALLOWED,
                StatusCode::UNAUTHORIZED,
            ];
            assert!(expected.contains(&answer.status), "{at} is not described");
            return;
        };
        let described = &operation["responses"][answer.status.as_str()];
        assert!(!described.is_null(), "{at} is not described: {}", answer.text);
        for (name, header) in described["headers"].as_object().into_iter().flatten() {
            let there = answer.headers.contains_key(name);
            assert!(there || header["required"] == false, "{at} lacks {name}");
        }
        let Some(content) = described["content"].as_object() else {
            assert_eq!(answer.text, "", "{at}");
            return;
        };
        let kind = answer.headers[header::CONTENT_TYPE].to_str().unwrap();
        let bare = kind.split(';').next().unwrap_or_default();
        let described = content.get(bare);
        let schema = &described.unwrap_or_else(|| panic!("{at}: {kind} is not described"))["schema"];
        if bare.ends_with("json") {
            let found = schema::wrong(&self.document, schema, &answer.json, "");
            assert!(found.is_empty(), "{at}: {found:#?}");
            let known = schema::described(&self.document, schema);
            for name in answer
                .json
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name)
            {
                assert!(
                    known.is_empty() || known.contains(name),
                    "{at}: {name} is not described"
                );
            }
        }
    }

    /// What the description says of a method of a path.
    fn operation(&self, method: &Method, path: &str) -> Option<&Value> {
        let fits = |template: &str| {
            let (template, path): (Vec<_>, Vec<_>) =
                (template.split('/').collect(), path.split('/').collect());
            template.len() == path.len()
                && template
                    .iter()
                    .zip(&path)
                    .all(|(own, given)| own.starts_with('{') && !given.is_empty() || own == given)
        };
        let paths = self.document["paths"].as_object().into_iter().flatten();
        let mut found = paths.filter(|(template, _)| fits(template)).map(|(_, path)| path);
        let operation = &found.next()?[method.as_str().to_lowercase()];
        (!operation.is_null()).then_some(operation)
    }
}

impl Answer {
    /// The end of the type of the problem.
    pub(crate) fn problem(&self) -> &str {
        let kind = self.json["type"].as_str().unwrap_or_default();
        kind.strip_prefix("urn:problem-type:cache-admin:")
            .unwrap_or("none")
    }

    /// Fails where it is not this kind of problem.
    #[track_caller]
    pub(crate) fn is(&self, status: u16, problem: &str) {
        assert_eq!(
            (self.status.as_u16(), self.problem()),
            (status, problem),
            "{}",
            self.text
        );
    }

    /// Fails where it is not a success with this status.
    #[track_caller]
    pub(crate) fn is_ok(&self, status: u16) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
    }
}
