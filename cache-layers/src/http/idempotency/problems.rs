//! Why a request with a key does not run: the codes and their texts.

use http::StatusCode;

use super::super::problem::Problem;

pub(super) fn key_missing() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "idempotency-key-missing",
        "Idempotency-Key is missing",
        "This operation needs an Idempotency-Key: a new one for each operation, the same for its retries.",
    )
}

pub(super) fn key_malformed() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "idempotency-key-malformed",
        "Idempotency-Key is malformed",
        "One Idempotency-Key is accepted, of 1 to 255 characters, as a quoted string or bare.",
    )
}

pub(super) fn scope_missing() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "idempotency-scope-missing",
        "The Idempotency-Key belongs to nobody",
        "The request does not say on whose behalf it is made, so its Idempotency-Key cannot be told from others'.",
    )
}

pub(super) fn request_too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "idempotency-request-too-large",
        "The request is too large",
        "The body of a request with an Idempotency-Key is limited in size.",
    )
}

pub(super) fn request_broke_off() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "idempotency-request-unreadable",
        "The request broke off",
        "The body of the request could not be read to its end. It did not run.",
    )
}

pub(super) fn mismatch() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency-mismatch",
        "Idempotency-Key is already used",
        "The Idempotency-Key stands for a request with another method, target or body. Use a new key.",
    )
}

pub(super) fn in_progress() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "idempotency-in-progress",
        "A request is outstanding for this Idempotency-Key",
        "A request with this Idempotency-Key is being processed. Retry to get its response.",
    )
}

pub(super) fn not_replayable() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "idempotency-not-replayable",
        "The request has been processed",
        "A request with this Idempotency-Key has been processed, and its response was not kept. Retries do not help.",
    )
}

pub(super) fn unavailable() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "idempotency-unavailable",
        "Idempotency is not available",
        "Whether a request with this Idempotency-Key has run cannot be told at the moment. This one did not run.",
    )
}
