//! Translates failures to obtain AWS credentials.
//!
//! Not in here: a service that refuses the credentials.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use cache_core::{CacheError, ErrorSource, Outcome, Unavailability};

/// The error of an AWS credentials source in the chain, if there is one.
#[cfg(any(
    feature = "secret",
    feature = "keyset",
    feature = "dynamodb",
    feature = "elasticache"
))]
pub(super) fn find_in(error: &(dyn Error + 'static), limit: Duration) -> Option<CacheError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<CredentialsError>() {
            return Some(translate(error, limit));
        }
        // The message of the SDK's credentials cache at its time limit; it has no type.
        if error.to_string().contains("identity resolver timed out") {
            return Some(timed_out(limit));
        }
        next = error.source();
    }
    None
}

/// Translates the error of an AWS credentials source.
pub(crate) fn translate(error: &CredentialsError, limit: Duration) -> CacheError {
    match error {
        CredentialsError::ProviderTimedOut(_) => timed_out(limit),
        CredentialsError::CredentialsNotLoaded(_) => CacheError::Unauthorized {
            detail: "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or give the pod, task or instance a role".into(),
            source: Some(Failure::shared(error)),
        },
        CredentialsError::InvalidConfiguration(_) => CacheError::Unauthorized {
            detail: "the source of AWS credentials is misconfigured; check AWS_PROFILE and the profile files, AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE".into(),
            source: Some(Failure::shared(error)),
        },
        _ => no_answer(
            "the source of AWS credentials failed; check that its endpoint (container, STS, instance metadata) can be reached, and the role's trust policy".to_owned(),
            Some(Failure::shared(error)),
        ),
    }
}

/// The error if credentials did not arrive within `limit`.
pub(crate) fn timed_out(limit: Duration) -> CacheError {
    no_answer(
        format!(
            "no AWS credentials within {limit:?}; check that their source can be reached (container endpoint, STS, instance metadata), and that one is configured at all"
        ),
        None,
    )
}

/// Transient: a source that hangs or fails now may answer a moment later.
fn no_answer(detail: String, source: Option<ErrorSource>) -> CacheError {
    CacheError::Unavailable {
        reason: Unavailability::Connect,
        detail: detail.into(),
        outcome: Outcome::NotApplied,
        source,
    }
}

pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

/// The texts of an SDK error's chain. The SDK's errors themselves hold the response, which may hold a secret.
#[derive(Debug)]
pub(super) struct Failure(String);

impl Failure {
    pub(super) fn shared(error: &(dyn Error + 'static)) -> ErrorSource {
        Arc::new(Self(chain(error)))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Failure {}
