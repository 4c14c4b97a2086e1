//! How many requests there were, for scrapes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;

/// Counts of requests by method, route and status. As many entries as there are routes and answers to
/// them: no text of a client is in them.
#[derive(Debug, Default)]
pub(crate) struct Traffic(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    requests: BTreeMap<(&'static str, Box<str>, u16), u64>,
    seconds: BTreeMap<(&'static str, Box<str>), (f64, u64)>,
}

impl Traffic {
    pub(crate) fn count(&self, method: &'static str, route: &str, status: StatusCode, elapsed: Duration) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts
            .requests
            .entry((method, route.into(), status.as_u16()))
            .or_default() += 1;
        let (seconds, count) = counts.seconds.entry((method, route.into())).or_default();
        *seconds += elapsed.as_secs_f64();
        *count += 1;
    }

    /// In the text format of Prometheus.
    pub(crate) fn write(&self, text: &mut String) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a text does not fail.
        text.push_str("# HELP cache_admin_requests_total Requests answered by the administration.\n");
        text.push_str("# TYPE cache_admin_requests_total counter\n");
        for ((method, route, status), count) in &counts.requests {
            let _ = writeln!(
                text,
                "cache_admin_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}} {count}"
            );
        }
        text.push_str("# HELP cache_admin_request_duration_seconds Time until the head of the answer.\n");
        text.push_str("# TYPE cache_admin_request_duration_seconds summary\n");
        for ((method, route), (seconds, count)) in &counts.seconds {
            let labels = format!("{{method=\"{method}\",route=\"{route}\"}}");
            let _ = writeln!(text, "cache_admin_request_duration_seconds_sum{labels} {seconds}");
            let _ = writeln!(text, "cache_admin_request_duration_seconds_count{labels} {count}");
        }
    }
}
