//! The JSON body of a request.

use axum::body::{HttpBody as _, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use crate::http::problem::{Kind, Problem};
use crate::http::service::Service;

/// The body, as `T`, which has to refuse what it does not know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body<T>(pub(crate) T);

/// As [`Body`], of a request that may have none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OptionalBody<T>(pub(crate) Option<T>);

impl<T: DeserializeOwned> FromRequest<Service> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, service: &Service) -> Result<Self, Problem> {
        if request.body().is_end_stream() {
            return Ok(Self(None));
        }
        let Body(body) = Body::from_request(request, service).await?;
        Ok(Self(Some(body)))
    }
}

impl<T: DeserializeOwned> FromRequest<Service> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, service: &Service) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                Kind::MediaType,
                "the body has to be application/json",
            ));
        }
        let limits = service.limits();
        let too_large = || {
            Problem::new(
                Kind::TooLarge,
                format!("a body has at most {} bytes", limits.body),
            )
        };
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > limits.body) {
            return Err(too_large());
        }
        let reading = to_bytes(request.into_body(), limits.body);
        let bytes = match tokio::time::timeout(limits.body_timeout, reading).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) if is_limit(&error) => return Err(too_large()),
            Ok(Err(_)) => return Err(Problem::new(Kind::InvalidBody, "the body ended early")),
            Err(_) => {
                let limit = humantime::format_duration(limits.body_timeout);
                return Err(Problem::new(
                    Kind::RequestTimeout,
                    format!("the body did not arrive within {limit}"),
                ));
            }
        };
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Problem::new(Kind::InvalidBody, error.to_string()))
    }
}

fn is_limit(error: &axum::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether the body is said to be JSON, in UTF-8.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let Some((kind, parameters)) = kind.map(|kind| kind.split_once(';').unwrap_or((kind, ""))) else {
        return false;
    };
    let parameter = parameters.trim();
    let charset = parameter
        .split_once('=')
        .map(|(name, value)| (name.trim(), value.trim_matches('"')));
    let utf8 = match charset {
        None => parameter.is_empty(),
        Some((name, value)) => !name.eq_ignore_ascii_case("charset") || value.eq_ignore_ascii_case("utf-8"),
    };
    kind.trim().eq_ignore_ascii_case("application/json") && utf8
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_json_is_json() {
        let json = |kind: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            is_json(&headers)
        };
        for fine in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
        ] {
            assert!(json(fine), "{fine}");
        }
        for wrong in [
            "",
            "text/plain",
            "application/jsonx",
            "application/json; charset=latin1",
            "application/json; x",
        ] {
            assert!(!json(wrong), "{wrong}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
