//! Refusals of the service (RFC 9457) as failures with the exit codes of the local commands.

use http::StatusCode;
use serde::Deserialize;

use crate::escape::plain;
use crate::exit::Exit;
use crate::failure::Failure;

/// What the service says of a refusal.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    detail: String,
    request_id: String,
    /// What confirms a broad removal.
    pub(super) confirm: Option<String>,
}

impl Problem {
    pub(super) fn read(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }
}

/// The failure that a refusal is.
pub(super) fn failure(base: &str, status: StatusCode, body: &[u8]) -> Failure {
    let problem = Problem::read(body);
    let mut message = if problem.title.is_empty() {
        format!("the service {base} answers {status}")
    } else {
        format!("{}: {}", plain(&problem.title), plain(&problem.detail))
    };
    if !problem.request_id.is_empty() {
        message.push_str(&format!(" (request {})", plain(&problem.request_id)));
    }
    let kind = problem.kind.rsplit(':').next().unwrap_or_default();
    Failure::Service {
        exit: exit(status, kind),
        kind: if kind.is_empty() {
            "service".to_owned()
        } else {
            plain(kind)
        },
        message,
    }
}

/// The exit code that the same refusal has without a service between.
fn exit(status: StatusCode, kind: &str) -> Exit {
    match (status.as_u16(), kind) {
        // Other than a key or a job that is not there, a path that is not is a wrong --server.
        (404, "not-found" | "") => Exit::Config,
        (404, _) => Exit::False,
        (401 | 403 | 409 | 428 | 502, _) => Exit::Refused,
        (408 | 429 | 503 | 504, _) => Exit::Unavailable,
        (400 | 405 | 413 | 415 | 422, _) => Exit::Usage,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_as_it_is_and_cannot_write_on_the_terminal() {
        let body = br#"{"type":"urn:problem-type:cache-admin:overlapping-job","title":"Another job works on these keys",
            "status":409,"detail":"job 01\u001b[2J","request_id":"r-1","job":"01"}"#;
        let failure = failure("https://a", StatusCode::CONFLICT, body);
        assert_eq!(failure.exit(), Exit::Refused);
        let lines = failure.lines();
        assert_eq!(
            lines,
            ["Another job works on these keys: job 01\\x1b[2J (request r-1)"]
        );
        assert_eq!(failure.json()["error"]["kind"], "overlapping-job");
    }

    #[test]
    fn what_is_no_problem_of_the_service_tells_its_status() {
        let failure = failure("https://a", StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!(failure.lines(), ["the service https://a answers 502 Bad Gateway"]);
        assert_eq!(super::exit(StatusCode::NOT_FOUND, "no-such-job"), Exit::False);
        assert_eq!(super::exit(StatusCode::NOT_FOUND, "not-found"), Exit::Config);
        assert_eq!(
            super::exit(StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Exit::Unavailable
        );
        assert_eq!(
            super::exit(StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            Exit::Failed
        );
    }
}
