//! Runs a call of the contract: within its deadline, ended by a close, with retries that are safe.
//!
//! Not in here: what is sent (`contract.rs`, `batch.rs`, `counter.rs`).

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::error::SdkError;
use cache_core::{CacheError, ConfigError, Outcome, Stage, Unavailability};

use super::Table;
use super::retry::{Attempts, Deadline, Effect};
use crate::account::AwsService;
use crate::error::{self, Request};
use crate::quiet::quiet;

impl Table {
    /// Runs `work` until it is done, the deadline passes, or the client closes.
    pub(super) async fn within<T>(
        &self,
        deadline: Deadline,
        work: impl Future<Output = Result<T, CacheError>>,
    ) -> Result<T, CacheError> {
        self.check_open()?;
        let mut closed = self.closed.subscribe();
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => Err(CacheError::Closed),
            ended = tokio::time::timeout_at(deadline.at(), work) => match ended {
                Ok(result) => result,
                Err(_) => Err(deadline.passed()),
            },
        }
    }

    /// Sends a request, and retries it after a transient error if that is safe.
    pub(super) async fn send<T, F>(
        &self,
        effect: Effect,
        deadline: &Deadline,
        request: impl Fn() -> F,
    ) -> Result<T, CacheError>
    where
        F: Future<Output = Result<T, CacheError>> + Send,
    {
        let mut attempts = Attempts::default();
        loop {
            let limit = attempts.limit(effect, deadline);
            self.cost.request();
            let answer = tokio::time::timeout(limit, quiet(request())).await;
            self.clock.warn_if_wrong();
            let error = match answer {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => CacheError::Timeout {
                    stage: Stage::Reply,
                    after: limit,
                },
            };
            let delay = attempts.next(effect, error, self.options.max_retries, deadline)?;
            tokio::time::sleep(delay).await;
        }
    }

    pub(super) fn check_open(&self) -> Result<(), CacheError> {
        if *self.closed.borrow() {
            Err(CacheError::Closed)
        } else {
            Ok(())
        }
    }

    /// Translates a failed request for the caller.
    pub(super) fn translate<E>(
        &self,
        permission: &'static str,
        deadline: &Deadline,
        error: &SdkError<E, HttpResponse>,
    ) -> CacheError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let request = Request {
            limit: deadline.after,
            ..Request::new(&self.aws, AwsService::DynamoDb, permission, &self.name)
        };
        let passing = |detail: String, outcome| CacheError::Unavailable {
            reason: Unavailability::NotReady,
            detail: detail.into(),
            outcome,
            source: None,
        };
        if let SdkError::ResponseError(answer) = error
            && !answer.raw().status().is_server_error()
        {
            // The connection ended during the response, or a proxy answered.
            return CacheError::Unavailable {
                reason: Unavailability::Lost,
                detail: format!("the answer of DynamoDB to {permission} was cut off or is not DynamoDB's")
                    .into(),
                outcome: Outcome::Unknown,
                source: None,
            };
        }
        let message = error.as_service_error().and_then(ProvideErrorMetadata::message);
        match error::code(error).unwrap_or_default() {
            "ResourceNotFoundException" => missing(&self.name, self.aws.region()),
            "TransactionConflictException" | "ReplicatedWriteConflictException" => passing(
                format!(
                    "another write to the same item of the table {} was under way",
                    self.name
                ),
                Outcome::NotApplied,
            ),
            "ValidationException" if message.is_some_and(|text| text.contains("tem size")) => {
                CacheError::InvalidInput {
                    argument: "value",
                    reason: "DynamoDB takes items of 400 KB at most".into(),
                }
            }
            "ValidationException"
                if message.is_some_and(|text| text.contains("does not match the schema")) =>
            {
                CacheError::Config(ConfigError::one(
                    "CACHE_DYNAMODB_TABLE",
                    format!(
                        "the table {} has another key than a cache's: run `cachectl dynamodb describe --table {0}`",
                        self.name
                    ),
                ))
            }
            _ => {
                let error = error::translate(&request, error);
                if let CacheError::Unavailable {
                    reason: Unavailability::NotReady,
                    outcome: Outcome::NotApplied,
                    ..
                } = error
                {
                    self.cost.throttled();
                }
                error
            }
        }
    }
}

/// The error if the table does not exist.
pub(super) fn missing(table: &str, region: &str) -> CacheError {
    CacheError::Config(ConfigError::one(
        "CACHE_DYNAMODB_TABLE",
        format!(
            "there is no table {table} in {region}: create it with `cachectl dynamodb create-table --table {table}`, \
             or correct CACHE_DYNAMODB_TABLE or AWS_REGION"
        ),
    ))
}
