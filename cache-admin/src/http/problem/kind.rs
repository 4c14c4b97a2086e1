//! The kinds of problems: their URIs, statuses and titles, in one table. `docs/http.md` has the same one.

use axum::http::StatusCode;

/// What is put before the name of a kind to make its `type`.
pub(crate) const TYPE_PREFIX: &str = "urn:problem-type:cache-admin:";

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $kind:ident = $status:ident, $name:literal, $title:literal;)*) => {
        /// Why a request was not served.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Kind {
            $($(#[doc = $doc])* $kind,)*
        }

        impl Kind {
            /// All of them.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$kind),*];

            pub(crate) const fn status(self) -> StatusCode {
                match self {
                    $(Self::$kind => StatusCode::$status,)*
                }
            }

            /// The end of its `type`.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            pub(crate) const fn title(self) -> &'static str {
                match self {
                    $(Self::$kind => $title,)*
                }
            }
        }
    };
}

kinds! {
    /// A query parameter is unknown, missing, repeated or of no accepted form.
    InvalidQuery = BAD_REQUEST, "invalid-query", "The query is not valid";
    /// The body is no JSON, or a field is unknown, missing or of no accepted form.
    InvalidBody = BAD_REQUEST, "invalid-body", "The body is not valid";
    /// A header is of no accepted form.
    InvalidHeader = BAD_REQUEST, "invalid-header", "A header is not valid";
    /// What was given is well-formed and no backend takes it.
    InvalidArgument = BAD_REQUEST, "invalid-argument", "An argument is not valid";
    /// A cursor was not issued here, to this caller, for this question, or is too old.
    InvalidCursor = BAD_REQUEST, "invalid-cursor", "The cursor is not valid";
    /// No token, or none that is known.
    Unauthorized = UNAUTHORIZED, "unauthorized", "Authentication is required";
    /// The caller may not do this, or not to these keys.
    Forbidden = FORBIDDEN, "forbidden", "The caller may not do this";
    /// The request names a host that is not this machine.
    ForeignHost = FORBIDDEN, "foreign-host", "The host is not this service";
    /// The request was made by a page of another origin.
    ForeignOrigin = FORBIDDEN, "foreign-origin", "The origin is not this service";
    /// There is no such route.
    NotFound = NOT_FOUND, "not-found", "There is no such resource";
    /// The key holds nothing.
    NoSuchKey = NOT_FOUND, "no-such-key", "The key does not exist";
    /// No job has this id.
    NoSuchJob = NOT_FOUND, "no-such-job", "The job does not exist";
    /// The resource does not take this method.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not allowed here";
    /// The client accepts none of the media types that there are.
    NotAcceptable = NOT_ACCEPTABLE, "not-acceptable", "No accepted media type can be served";
    /// The body did not arrive in time.
    RequestTimeout = REQUEST_TIMEOUT, "request-timeout", "The request did not arrive in time";
    /// A removal is under way whose keys may be the same.
    Overlaps = CONFLICT, "overlapping-job", "Another job works on these keys";
    /// The job is not in a state in which this can be done.
    JobState = CONFLICT, "job-state", "The job is not in a state for this";
    /// The servers now belong to another cache than the job, or do not say to which.
    OtherCache = CONFLICT, "other-cache", "The cache is not the one it belongs to";
    /// The first request with this key has not been answered yet.
    InProgress = CONFLICT, "idempotency-in-progress", "The same request is under way";
    /// The body is larger than is taken.
    TooLarge = PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large";
    /// The body is not `application/json`.
    MediaType = UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The media type is not supported";
    /// The key was used for another request.
    KeyReused = UNPROCESSABLE_ENTITY, "idempotency-key-reused", "The idempotency key belongs to another request";
    /// A broad pattern, and nobody has confirmed it.
    Unconfirmed = PRECONDITION_REQUIRED, "confirmation-required", "A broad removal has to be confirmed";
    /// More requests than the caller may make.
    RateLimited = TOO_MANY_REQUESTS, "rate-limited", "Too many requests";
    /// A defect of this service.
    Internal = INTERNAL_SERVER_ERROR, "internal", "The service failed";
    /// This backend cannot do it.
    Unsupported = NOT_IMPLEMENTED, "unsupported", "The backend cannot do this";
    /// The cache refuses the service or what it asks for.
    CacheRefused = BAD_GATEWAY, "cache-refused", "The cache refused";
    /// The cache cannot be reached.
    CacheUnavailable = SERVICE_UNAVAILABLE, "cache-unavailable", "The cache is not available";
    /// The service takes on nothing more at the moment.
    Busy = SERVICE_UNAVAILABLE, "busy", "The service is busy";
    /// The cache did not answer in time.
    Timeout = GATEWAY_TIMEOUT, "timeout", "The cache did not answer in time";
}

impl Kind {
    /// Its `type`.
    pub(crate) fn uri(self) -> String {
        format!("{TYPE_PREFIX}{}", self.name())
    }

    /// What an error becomes that somebody else made: only its status is known.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::MediaType,
            status if status.is_client_error() => Self::InvalidArgument,
            _ => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_that_is_documented_with_its_status() {
        let names: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
        let page = include_str!("../../../../docs/http.md");
        for kind in Kind::ALL {
            let row = format!("| `{}` | {} |", kind.name(), kind.status().as_u16());
            assert!(page.contains(&row), "docs/http.md lacks the row: {row}");
        }
    }
}
