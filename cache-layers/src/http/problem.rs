//! Refusals, as problem details (RFC 9457).

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value};

/// What is wrong with a request, or why it was not served.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// The registered type, if there is one.
    kind: Option<&'static str>,
    /// The code by which programs distinguish problems.
    code: &'static str,
    title: &'static str,
    detail: &'static str,
    retry_after: Option<Duration>,
    more: Map<String, Value>,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: &'static str,
    ) -> Self {
        Self {
            status,
            kind: None,
            code,
            title,
            detail,
            retry_after: None,
            more: Map::new(),
        }
    }

    pub(super) const fn of_type(mut self, uri: &'static str) -> Self {
        self.kind = Some(uri);
        self
    }

    pub(super) const fn retry_after(mut self, time: Duration) -> Self {
        self.retry_after = Some(time);
        self
    }

    pub(super) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.more.insert(member.to_owned(), value.into());
        self
    }

    /// Builds the response. `documentation` is the page that explains the codes, each at its own fragment.
    pub(super) fn response(self, documentation: Option<&str>) -> Response<Bytes> {
        let mut members = self.more;
        let kind = match (self.kind, documentation) {
            (Some(uri), _) => uri.to_owned(),
            (None, Some(page)) => format!("{page}#{}", self.code),
            (None, None) => "about:blank".to_owned(),
        };
        members.insert("type".to_owned(), kind.into());
        members.insert("title".to_owned(), self.title.into());
        members.insert("status".to_owned(), self.status.as_u16().into());
        members.insert("detail".to_owned(), self.detail.into());
        members.insert("code".to_owned(), self.code.into());
        let mut response = Response::new(Bytes::from(Value::Object(members).to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        // No proxy may use it to answer another request.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(time) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(time)));
        }
        response
    }
}

/// Rounded up, at least 1: `Retry-After: 0` would ask for a retry that fails again.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    seconds.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem() -> Problem {
        Problem::new(StatusCode::CONFLICT, "in-progress", "Busy", "Try again.")
    }

    #[test]
    fn a_problem_is_json_for_people_and_for_programs() {
        let response = problem()
            .retry_after(Duration::from_millis(1_001))
            .with("left", 3)
            .response(Some("https://developer.example.com/keys"));
        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["retry-after"], "2");
        let members: Value = serde_json::from_slice(response.body()).unwrap();
        let expected = serde_json::json!({
            "type": "https://developer.example.com/keys#in-progress",
            "title": "Busy",
            "status": 409,
            "detail": "Try again.",
            "code": "in-progress",
            "left": 3,
        });
        assert_eq!(members, expected);
    }

    #[test]
    fn without_a_page_the_type_is_blank_and_without_a_time_there_is_no_retry_after() {
        let response = problem().response(None);
        assert!(!response.headers().contains_key("retry-after"));
        let members: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(members["type"], "about:blank");
    }

    #[test]
    fn seconds_are_rounded_up_and_never_none() {
        for (millis, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (59_999, 60)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }
}
