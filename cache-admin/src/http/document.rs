//! The description of the routes (OpenAPI 3.1), made from the handlers themselves.
//!
//! Each handler names its own answers, its refusals by [`refusals!`]; here is added what every route has: the
//! request's id, headers, the form of problems, the ways to authenticate. Not in here: the routes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde_json::{Map, Value, json};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Response, ResponseBuilder, Schema,
};

use super::edge::{REQUEST_ID_MAX_LEN, REQUEST_ID_NAME};
use super::problem::{CONTENT_TYPE, Kind, TYPE_PREFIX};

/// Names the kinds of problems that a route may answer with, those that every route has apart.
macro_rules! refusals {
    ($name:ident: $($kind:ident),* $(,)?) => {
        struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<
                String,
                utoipa::openapi::RefOr<utoipa::openapi::Response>,
            > {
                $crate::http::document::problems(&[$($crate::http::problem::Kind::$kind),*])
            }
        }
    };
}
pub(crate) use refusals;

/// What a handler answers. The handler names its responses itself; the macro keeps the type from `utoipa::path`, which
/// would ask every part of it for responses if a service switches on `auto_into_responses`.
macro_rules! answer {
    ($($answer:tt)+) => { $($answer)+ };
}
pub(crate) use answer;

/// What every route may answer.
const EVERYWHERE: [Kind; 7] = [
    Kind::InvalidQuery,
    Kind::ForeignHost,
    Kind::ForeignOrigin,
    Kind::NotAcceptable,
    Kind::Internal,
    Kind::Busy,
    Kind::Timeout,
];

/// The responses of these kinds, and of those that every route has.
pub(crate) fn problems(kinds: &[Kind]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status = BTreeMap::<u16, Vec<Kind>>::new();
    for kind in EVERYWHERE.iter().chain(kinds) {
        let of_status = by_status.entry(kind.status().as_u16()).or_default();
        if !of_status.contains(kind) {
            of_status.push(*kind);
        }
    }
    by_status
        .into_iter()
        .map(|(status, kinds)| (status.to_string(), RefOr::T(problem(status, &kinds))))
        .collect()
}

fn problem(status: u16, kinds: &[Kind]) -> Response {
    let titles: Vec<&str> = kinds.iter().map(|kind| kind.title()).collect();
    let types = ObjectBuilder::new().property(
        "type",
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(kinds.iter().map(|kind| kind.uri()))),
    );
    let schema = AllOfBuilder::new()
        .item(Ref::from_schema_name("Problem"))
        .item(types);
    let content = ContentBuilder::new()
        .schema(Some(Schema::from(schema.build())))
        .build();
    let response = ResponseBuilder::new()
        .description(titles.join("; "))
        .content(CONTENT_TYPE, content);
    let header = |description: &str, schema: ObjectBuilder| {
        let schema = Schema::from(schema.build());
        HeaderBuilder::new()
            .schema(Some(schema))
            .description(Some(description))
            .build()
    };
    let text = ObjectBuilder::new().schema_type(Type::String);
    let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
    match status {
        401 | 403 => response.header(
            "WWW-Authenticate",
            header("How to authenticate, and the scope that would do", text),
        ),
        429 | 503 => response.header("Retry-After", header("In how many seconds to try again", seconds)),
        _ => response,
    }
    .build()
}

/// A description without routes.
pub(crate) fn blank() -> OpenApi {
    let info = InfoBuilder::new()
        .title("cache-admin")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Administration of a live cache. Refusals are problem details (RFC 9457) whose types are stable. Work that \
             takes a while is a job.",
        ));
    OpenApiBuilder::new().info(info.build()).build()
}

/// The finished description. Anybody may ask for it, without a token, so that it is not rendered for each request.
#[derive(Debug)]
pub(crate) struct Document {
    value: Value,
    /// As it was asked for last: a service has one prefix.
    last: Mutex<Option<(String, Bytes, String)>>,
}

impl Document {
    /// Adds to what the handlers say what is true of all of them.
    pub(crate) fn finish(api: &OpenApi) -> Self {
        // A description can be written: its keys are texts.
        let mut document = serde_json::to_value(api).unwrap_or_default();
        let schemas = &mut document["components"]["schemas"];
        schemas["Problem"] = problem_schema();
        // Which of the two it is, is told by the request.
        if let Some(answer) = schemas.get_mut("CacheAnswer").and_then(Value::as_object_mut)
            && let Some(either) = answer.remove("oneOf")
        {
            answer.insert("anyOf".to_owned(), either);
        }
        document["components"]["securitySchemes"] = json!({
            "bearer": { "type": "http", "scheme": "bearer", "description": "A token of the file of actors." },
            "certificate": { "type": "mutualTLS", "description": "A client certificate of the file of actors." },
        });
        for operation in operations(&mut document) {
            if operation
                .get("operationId")
                .is_some_and(|id| id == "remove_by_pattern")
            {
                // In place of the query.
                operation["requestBody"]["required"] = false.into();
            }
            complete(operation);
        }
        Self {
            value: document,
            last: Mutex::new(None),
        }
    }

    /// The description for routes below `prefix`, as text, and its tag.
    pub(crate) fn under(&self, prefix: &str) -> (Bytes, String) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, text, tag)) = &*last
            && of == prefix
        {
            return (text.clone(), tag.clone());
        }
        let (text, tag) = self.rendered(prefix);
        let text = Bytes::from(text);
        *last = Some((prefix.to_owned(), text.clone(), tag.clone()));
        (text, tag)
    }

    fn rendered(&self, prefix: &str) -> (String, String) {
        let mut document = self.value.clone();
        if !prefix.is_empty() {
            document["servers"] = json!([{ "url": prefix }]);
        }
        let mut text = document.to_string();
        text.push('\n');
        let tag = super::etag::of(&text);
        (text, tag)
    }
}

fn operations(document: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths
        .filter_map(|(_, path)| path.as_object_mut())
        .flatten()
        .filter_map(|(_, operation)| operation.as_object_mut())
}

fn complete(operation: &mut Map<String, Value>) {
    let id = json!({
        "in": "header",
        "name": REQUEST_ID_NAME,
        "required": false,
        "description": "The id of the request in answers, logs and the audit log; one is made where it is missing \
                        or not 1 to 128 printable characters.",
        // Any other is replaced, so that none is wrong.
        "schema": { "type": "string" },
    });
    match operation.get_mut("parameters").and_then(Value::as_array_mut) {
        Some(parameters) => parameters.push(id),
        None => {
            operation.insert("parameters".to_owned(), json!([id]));
        }
    }
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    for (status, response) in responses.into_iter().flatten() {
        let always = |name: &str| name != "WWW-Authenticate" || status == "401";
        let headers = response["headers"].as_object_mut();
        for (name, header) in headers.into_iter().flatten() {
            header["required"] = always(name).into();
        }
        response["headers"][REQUEST_ID_NAME] = json!({
            "required": true,
            "description": "The id of the request",
            "schema": { "type": "string", "minLength": 1, "maxLength": REQUEST_ID_MAX_LEN },
        });
    }
    // What no handler gets to see: the listener answers, without a body.
    if let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) {
        responses.insert(
            "414".to_owned(),
            json!({ "description": "The target of the request is too long" }),
        );
        responses.insert(
            "431".to_owned(),
            json!({ "description": "The headers of the request are too long" }),
        );
    }
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "Problem details (RFC 9457). Some types have members of their own.",
        "required": ["type", "title", "status", "detail", "request_id"],
        "properties": {
            "type": { "type": "string", "pattern": format!("^{TYPE_PREFIX}[a-z-]+$"), "description": "What kind of problem it is; stable." },
            "title": { "type": "string", "description": "The kind in words." },
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "detail": { "type": "string", "description": "What to do about it." },
            "request_id": { "type": "string" },
            "scope": { "type": "string", "description": "forbidden: the scope that is needed." },
            "job": { "type": "string", "description": "overlapping-job, idempotency-key-reused: the other job; confirmation-required: the job for which the confirm was used." },
            "pattern": { "type": "string", "description": "overlapping-job: a pattern of the other job." },
            "state": { "type": "string", "description": "job-state: where the job stands." },
            "patterns": { "type": "array", "items": { "type": "string" }, "description": "confirmation-required: the broad ones." },
            "confirm": { "type": "string", "description": "confirmation-required: sent back as `confirm`, it confirms exactly this request." },
            "expires_in": { "type": "integer", "description": "confirmation-required: for how many seconds." },
        },
    })
}
