//! Translates failed requests to AWS.
//!
//! Not in here: codes that only one service has, and errors of a response's content.

use std::error::Error;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use cache_core::{CacheError, Outcome, Stage, Unavailability};

use super::credentials::{Failure, chain, find_in};
use crate::account::{Aws, AwsService};

/// A request to AWS, for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) service: AwsService,
    /// The permission that the request needs, as IAM policies write it: `kms:Decrypt`.
    pub(crate) permission: &'static str,
    /// What the request is about: an ARN or a name, no secret.
    pub(crate) resource: &'a str,
    pub(crate) region: &'a str,
    /// The time limit of the call.
    pub(crate) limit: Duration,
    /// The time limit of getting credentials.
    pub(crate) credentials_limit: Duration,
}

impl<'a> Request<'a> {
    pub(crate) fn new(
        aws: &'a Aws,
        service: AwsService,
        permission: &'static str,
        resource: &'a str,
    ) -> Self {
        Self {
            service,
            permission,
            resource,
            region: aws.region(),
            limit: aws.call_timeout(),
            credentials_limit: aws.credentials_timeout(),
        }
    }
}

/// The code of a service's answer, such as `AccessDeniedException`; `None` if there was no answer, or none with a code.
pub(crate) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// Translates a failed request for the caller.
pub(crate) fn translate<E>(request: &Request<'_>, error: &SdkError<E, HttpResponse>) -> CacheError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let source = |error: &(dyn Error + 'static)| Some(Failure::shared(error));
    match error {
        SdkError::TimeoutError(_) => CacheError::Timeout {
            stage: Stage::Call,
            after: request.limit,
        },
        SdkError::DispatchFailure(failure) => {
            if let Some(error) = find_in(error, request.credentials_limit) {
                return error;
            }
            let Some(cause) = failure.as_connector_error() else {
                return unavailable(request, Unavailability::Lost, Outcome::Unknown, source(error));
            };
            if failure.is_timeout() {
                return CacheError::Timeout {
                    stage: Stage::Call,
                    after: request.limit,
                };
            }
            let said = chain(cause);
            if said.contains("certificate") {
                return unavailable(request, Unavailability::Tls, Outcome::NotApplied, source(cause));
            }
            if said.contains("dns error") {
                return unavailable(
                    request,
                    Unavailability::Resolve,
                    Outcome::NotApplied,
                    source(cause),
                );
            }
            if said.contains("(Connect)") {
                return unavailable(
                    request,
                    Unavailability::Connect,
                    Outcome::NotApplied,
                    source(cause),
                );
            }
            unavailable(request, Unavailability::Lost, Outcome::Unknown, source(cause))
        }
        SdkError::ServiceError(answer) => from_answer(
            request,
            answer.err().code().unwrap_or_default(),
            answer.err().message().unwrap_or_default(),
            answer.raw().status().as_u16(),
        ),
        SdkError::ResponseError(answer) if answer.raw().status().is_server_error() => {
            unavailable(request, Unavailability::NotReady, Outcome::Unknown, None)
        }
        SdkError::ResponseError(_) => CacheError::Corrupt {
            detail: format!(
                "{} answered {} with something that is not its protocol; check the endpoint",
                request.service, request.permission
            )
            .into(),
            source: None,
        },
        // The SDK gets credentials before it sends anything, so most of these are about credentials.
        _ => find_in(error, request.credentials_limit).unwrap_or_else(|| CacheError::Unavailable {
            reason: Unavailability::NotReady,
            detail: format!("{} was not sent to {}", request.permission, request.service).into(),
            outcome: Outcome::NotApplied,
            source: source(error),
        }),
    }
}

/// Translates a service's error code.
fn from_answer(request: &Request<'_>, code: &str, message: &str, status: u16) -> CacheError {
    let code = code.strip_suffix("Exception").unwrap_or(code);
    let service = request.service;
    match code {
        "Throttling"
        | "Throttled"
        | "ThrottledRequest"
        | "TooManyRequests"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "ProvisionedThroughputExceeded"
        | "BandwidthLimitExceeded"
        | "SlowDown" => CacheError::Unavailable {
            reason: Unavailability::NotReady,
            detail: format!(
                "{service} throttles {} on {}",
                request.permission, request.resource
            )
            .into(),
            outcome: Outcome::NotApplied,
            source: None,
        },
        "AccessDenied" | "UnauthorizedOperation" | "NotAuthorized" => CacheError::Denied {
            command: request.permission.into(),
            detail: format!(
                "allow {} on {} in the role's IAM policy, and in the resource's own policy if it has one{}",
                request.permission,
                request.resource,
                said(message)
            )
            .into(),
        },
        "ExpiredToken" | "TokenRefreshRequired" => unauthorized(format!(
            "the AWS session credentials have expired; check what renews them{}",
            in_use(request)
        )),
        "RequestExpired" | "RequestTimeTooSkewed" => unauthorized(format!(
            "AWS finds the request's time wrong; check the clock of this machine{}",
            in_use(request)
        )),
        // Their messages quote the signed request, session token included.
        "SignatureDoesNotMatch" | "InvalidSignature" | "IncompleteSignature" => unauthorized(format!(
            "AWS refuses the request's signature; check the secret access key, the region and the clock of this machine{}",
            in_use(request)
        )),
        "UnrecognizedClient"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "AuthFailure"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException" => unauthorized(format!(
            "AWS does not know these credentials; check the access key, its session token, and that the region is enabled for the account{}",
            in_use(request)
        )),
        _ if status == 429 => unavailable(request, Unavailability::NotReady, Outcome::NotApplied, None),
        "InternalServerError"
        | "InternalServer"
        | "InternalService"
        | "InternalServiceError"
        | "InternalFailure"
        | "ServiceUnavailable"
        | "KMSInternal"
        | "DependencyTimeout"
        | "KeyUnavailable"
        | "TransactionInProgress" => unavailable(request, Unavailability::NotReady, Outcome::Unknown, None),
        "" if status < 300 => CacheError::Corrupt {
            detail: format!(
                "{service} answered {} with something that is not its protocol; check the endpoint",
                request.permission
            )
            .into(),
            source: None,
        },
        _ if status >= 500 => unavailable(request, Unavailability::NotReady, Outcome::Unknown, None),
        _ => CacheError::Rejected {
            code: if code.is_empty() {
                format!("HTTP {status}").into()
            } else {
                code.to_owned().into()
            },
            detail: format!("{} on {}{}", request.permission, request.resource, said(message)).into(),
        },
    }
}

fn unauthorized(detail: String) -> CacheError {
    CacheError::Unauthorized {
        detail: detail.into(),
        source: None,
    }
}

fn unavailable(
    request: &Request<'_>,
    reason: Unavailability,
    outcome: Outcome,
    source: Option<cache_core::ErrorSource>,
) -> CacheError {
    CacheError::Unavailable {
        reason,
        detail: format!(
            "{} for {} in {}; check region, endpoint and network",
            request.service, request.permission, request.region
        )
        .into(),
        outcome,
        source,
    }
}

fn in_use(request: &Request<'_>) -> String {
    format!(" ({} in {})", request.permission, request.region)
}

/// The service's message in one bounded line.
fn said(message: &str) -> String {
    const MOST: usize = 400;
    let line: String = message
        .chars()
        .filter(|char| !char.is_control())
        .take(MOST)
        .collect();
    if line.is_empty() {
        String::new()
    } else {
        format!(" (AWS says: {line})")
    }
}
