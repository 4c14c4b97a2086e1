//! Which pages of other origins may send requests and read the answers (CORS): none unless they are configured.
//!
//! Not in here: refusing requests that a browser sends along with a cookie or a certificate, which is done whatever is
//! configured here (`origin`).

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use cache_core::CacheError;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::request_id::REQUEST_ID;

/// How long a browser may remember what it was allowed.
const MAX_AGE: Duration = Duration::from_secs(600);

/// The origins of the configured consoles.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Vec<HeaderValue>);

impl Origins {
    /// Refuses what no browser would send as an origin.
    pub(crate) fn new(origins: &[String]) -> Result<Self, CacheError> {
        let origins = origins.iter().map(|origin| {
            HeaderValue::from_str(origin)
                .ok()
                .filter(|_| is_origin(origin))
                .ok_or_else(|| CacheError::InvalidInput {
                    argument: "allowed_origins",
                    reason: "an origin is https://HOST or http://HOST, in lower case, with :PORT if it is not the usual one, \
                             and without a path"
                        .into(),
                })
        });
        origins.collect::<Result<_, _>>().map(Self)
    }

    /// What answers preflight requests and marks answers; `None` if no origin is allowed.
    pub(crate) fn layer(&self) -> Option<CorsLayer> {
        if self.0.is_empty() {
            return None;
        }
        let layer = CorsLayer::new()
            .allow_origin(AllowOrigin::list(self.0.iter().cloned()))
            .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE])
            .allow_headers([
                header::ACCEPT,
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                header::IF_NONE_MATCH,
                HeaderName::from_static("idempotency-key"),
                HeaderName::from_static("last-event-id"),
                REQUEST_ID,
            ])
            .expose_headers([header::ETAG, header::LOCATION, header::RETRY_AFTER, REQUEST_ID])
            .max_age(MAX_AGE);
        Some(layer)
    }
}

fn is_origin(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else {
        return false;
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return false;
    };
    // Compared with what it is made of: no path, no user, no capital letter.
    ["http", "https"].contains(&scheme)
        && !authority.as_str().contains('@')
        && text == format!("{scheme}://{authority}").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_a_scheme_and_a_host_and_no_path() {
        let check = |origin: &str| Origins::new(&[origin.to_owned()]).is_ok();
        for fine in [
            "https://console.example",
            "http://localhost:3000",
            "https://[::1]:8443",
        ] {
            assert!(check(fine), "{fine}");
        }
        for wrong in [
            "",
            "*",
            "null",
            "console.example",
            "https://console.example/",
            "https://a@console.example",
            "HTTPS://console.example",
            "https://Console.example",
            "ftp://console.example",
            "https://a\n",
        ] {
            assert!(!check(wrong), "{wrong}");
        }
    }
}
