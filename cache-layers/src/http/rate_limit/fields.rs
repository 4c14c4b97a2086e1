//! `RateLimit` and `RateLimit-Policy`, and the responses to requests that are not let through.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::super::problem::{Problem, whole_seconds};
use super::RateLimitPolicy;
use crate::Decision;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// The type that the draft registers.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// Adds the fields. Those of other policies are kept, because both fields are lists.
pub(super) fn add(headers: &mut HeaderMap, policy: &RateLimitPolicy, decision: Option<&Decision>) {
    append(headers, POLICY, &policy_item(policy));
    // Nothing is known about a request that was not counted.
    if let Some(decision) = decision.filter(|decision| decision.counted) {
        append(headers, LIMIT, &limit_item(policy, decision));
    }
}

fn append(headers: &mut HeaderMap, name: HeaderName, item: &str) {
    // A policy's name is printable ASCII, and so is the item.
    if let Ok(value) = HeaderValue::from_str(item) {
        headers.append(name, value);
    }
}

fn policy_item(policy: &RateLimitPolicy) -> String {
    let (name, quota) = (string(&policy.name), policy.quota);
    let window = quota.window();
    if window.subsec_nanos() == 0 {
        format!("{name};q={};w={}", quota.limit(), window.as_secs())
    } else {
        format!("{name};q={}", quota.limit())
    }
}

fn limit_item(policy: &RateLimitPolicy, decision: &Decision) -> String {
    let name = string(&policy.name);
    // `Retry-After` should not be earlier than this.
    let time = decision.retry_after.unwrap_or(decision.reset_after);
    format!("{name};r={};t={}", decision.remaining, whole_seconds(time))
}

/// Formats a string of a structured field.
fn string(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

/// 429, or 503 if the request was not counted.
pub(super) fn denied(policy: &RateLimitPolicy, decision: &Decision) -> Problem {
    let retry_after = decision.retry_after.unwrap_or(decision.reset_after);
    if !decision.counted {
        return unavailable(retry_after);
    }
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "quota-exceeded",
        "Request cannot be satisfied as assigned quota has been exceeded",
        "More requests were made than the policy allows.",
    )
    .of_type(QUOTA_EXCEEDED)
    .retry_after(retry_after)
    .with("violated-policies", vec![policy.name.as_ref()])
}

pub(super) fn unavailable(retry_after: Duration) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "rate-limit-unavailable",
        "The rate limit is not available",
        "Whether the policy allows the request cannot be told at the moment.",
    )
    .retry_after(retry_after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Quota;

    fn policy(name: &str, limit: u64, window: Duration) -> RateLimitPolicy {
        RateLimitPolicy::new(name, Quota::fixed(limit, window)).unwrap()
    }

    #[test]
    fn an_item_is_what_the_draft_says() {
        let minute = Duration::from_secs(60);
        assert_eq!(
            policy_item(&policy("burst", 100, minute)),
            r#""burst";q=100;w=60"#
        );
        assert_eq!(
            policy_item(&policy(r#"a"b\c"#, 5, Duration::from_millis(1_500))),
            r#""a\"b\\c";q=5"#
        );
    }
}
