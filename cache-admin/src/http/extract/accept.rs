//! Which media types the client takes.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use crate::http::problem::{Kind, Problem};

macro_rules! accepts {
    ($($(#[doc = $doc:literal])* $name:ident = $kind:literal / $sub:literal;)*) => { $(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name;

        impl<S: Sync> FromRequestParts<S> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
                if takes(&parts.headers, $kind, $sub) {
                    return Ok(Self);
                }
                Err(Problem::new(
                    Kind::NotAcceptable,
                    concat!("the header Accept has to allow ", $kind, "/", $sub),
                ))
            }
        }
    )* };
}

accepts! {
    /// The client takes JSON.
    AcceptsJson = "application" / "json";
    /// The client takes a stream of events.
    AcceptsEvents = "text" / "event-stream";
    /// The client takes plain text.
    AcceptsText = "text" / "plain";
}

/// Whether `Accept` allows the type: the most specific range that names it decides. No header is any type.
fn takes(headers: &HeaderMap, kind: &str, sub: &str) -> bool {
    let mut said = false;
    // How specific the best range so far is, and whether its quality is more than 0.
    let mut best: Option<(u8, bool)> = None;
    for header in headers.get_all(header::ACCEPT) {
        let Ok(header) = header.to_str() else {
            continue;
        };
        for range in header.split(',').map(str::trim).filter(|range| !range.is_empty()) {
            said = true;
            let mut parts = range.split(';').map(str::trim);
            let (own_kind, own_sub) = parts
                .next()
                .and_then(|own| own.split_once('/'))
                .unwrap_or_default();
            let specific = match (own_kind, own_sub) {
                ("*", "*") => 0,
                (own, "*") if own.eq_ignore_ascii_case(kind) => 1,
                (own, own_sub) if own.eq_ignore_ascii_case(kind) && own_sub.eq_ignore_ascii_case(sub) => 2,
                _ => continue,
            };
            let refused = parts.any(|parameter| {
                let quality = parameter
                    .strip_prefix("q=")
                    .or_else(|| parameter.strip_prefix("Q="));
                quality.is_some_and(|quality| quality.parse::<f32>().is_ok_and(|quality| quality <= 0.0))
            });
            if best.is_none_or(|(known, _)| specific >= known) {
                best = Some((specific, !refused));
            }
        }
    }
    !said || best.is_some_and(|(_, taken)| taken)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_most_specific_range_decides() {
        let json = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            takes(&headers, "application", "json")
        };
        for accept in [
            "",
            "*/*",
            "application/json",
            "Application/JSON; q=0.5",
            "text/html, */*;q=0.1",
            "application/*",
            "application/json;v=1",
        ] {
            assert!(json(accept), "{accept}");
        }
        for accept in [
            "text/html",
            "text/*",
            "application/json;q=0",
            "*/*, application/json; q=0.0",
            "json",
            "application/jsonx",
        ] {
            assert!(!json(accept), "{accept}");
        }
        assert!(takes(&HeaderMap::new(), "text", "plain"));
    }
}
