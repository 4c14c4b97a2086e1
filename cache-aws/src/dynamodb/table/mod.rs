//! The table itself: describes it and checks it at start. Not in here: creating one, see `create.rs`; its
//! properties, see `state.rs`.

mod create;
mod state;

use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{TableDescription, TimeToLiveDescription};
use cache_core::config::Startup;
use cache_core::{CacheError, ConfigError};

pub use self::create::{CreateTable, Created};
pub use self::state::TableState;
use self::state::{check, state, unsigned};
use super::retry::{Attempts, Deadline, Effect};
use super::{DynamoClient, call, sdk};
use crate::account::{Aws, AwsService};
use crate::error::{self, Request};
use crate::quiet::quiet;

/// How long one request about the table may take.
const REQUEST: Duration = Duration::from_secs(10);

/// A table, to create or describe it. Its entries are accessed with [`DynamoClient`].
#[derive(Clone)]
pub struct DynamoTable {
    aws: Aws,
    name: String,
    client: Client,
}

impl DynamoTable {
    /// The table `name`, which need not exist.
    pub fn new(aws: &Aws, name: impl Into<String>) -> Self {
        Self {
            aws: aws.clone(),
            name: name.into(),
            client: sdk(aws, REQUEST / 2, None),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The region that it is in.
    #[must_use]
    pub fn region(&self) -> &str {
        self.aws.region()
    }

    /// Describes the table; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// If DynamoDB does not answer, or the role may not describe tables.
    pub async fn describe(&self) -> Result<Option<TableState>, CacheError> {
        let Some(table) = self.description().await? else {
            return Ok(None);
        };
        let ttl = match self.time_to_live().await {
            Ok(ttl) => Some(ttl),
            Err(CacheError::Denied { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Some(state(&table, ttl.as_ref())))
    }

    /// How many items it holds, as DynamoDB counted up to six hours ago.
    ///
    /// # Errors
    ///
    /// As [`describe`](Self::describe); [`CacheError::Config`] if it does not exist.
    pub async fn item_count(&self) -> Result<u64, CacheError> {
        match self.description().await? {
            Some(table) => Ok(unsigned(table.item_count)),
            None => Err(call::missing(&self.name, self.aws.region())),
        }
    }

    /// Its ARN, which names the account and the region; `None` if the table does not exist or DynamoDB does
    /// not return it.
    ///
    /// # Errors
    ///
    /// As [`describe`](Self::describe).
    pub async fn arn(&self) -> Result<Option<String>, CacheError> {
        Ok(self.description().await?.and_then(|table| table.table_arn))
    }

    async fn description(&self) -> Result<Option<TableDescription>, CacheError> {
        self.ask(Effect::Read, "dynamodb:DescribeTable", || {
            let request = self.client.describe_table().table_name(&self.name);
            async move {
                match request.send().await {
                    Ok(answer) => Ok(answer.table),
                    Err(error) if error::code(&error) == Some("ResourceNotFoundException") => Ok(None),
                    Err(error) => Err(error),
                }
            }
        })
        .await
    }

    async fn time_to_live(&self) -> Result<TimeToLiveDescription, CacheError> {
        self.ask(Effect::Read, "dynamodb:DescribeTimeToLive", || {
            let request = self.client.describe_time_to_live().table_name(&self.name);
            async move {
                let answer = request.send().await?;
                let off = || TimeToLiveDescription::builder().build();
                Ok(answer.time_to_live_description.unwrap_or_else(off))
            }
        })
        .await
    }

    /// Sends a request about the table, with retries after transient errors.
    async fn ask<T, E, F>(
        &self,
        effect: Effect,
        permission: &'static str,
        request: impl Fn() -> F,
    ) -> Result<T, CacheError>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let deadline = Deadline::after(REQUEST);
        let mut attempts = Attempts::default();
        loop {
            let error = match tokio::time::timeout(attempts.limit(effect, &deadline), quiet(request())).await
            {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) if error::code(&error) == Some("ResourceNotFoundException") => {
                    return Err(call::missing(&self.name, self.aws.region()));
                }
                Ok(Err(error)) => {
                    let request = Request {
                        limit: REQUEST,
                        ..Request::new(&self.aws, AwsService::DynamoDb, permission, &self.name)
                    };
                    error::translate(&request, &error)
                }
                Err(_) => deadline.passed(),
            };
            let delay = attempts.next(effect, error, 5, &deadline)?;
            tokio::time::sleep(delay).await;
        }
    }
}

impl fmt::Debug for DynamoTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DynamoTable({} in {})", self.name, self.aws.region())
    }
}

impl DynamoClient {
    /// Checks at start that the table exists and has a cache's key.
    pub(super) async fn check(&self, startup: Startup) -> Result<(), CacheError> {
        let table = self.administration();
        let limit = self.options().read_timeout.max(self.options().connect_timeout);
        let described = tokio::time::timeout(limit, table.describe()).await;
        match described.unwrap_or_else(|_| Err(Deadline::after(limit).passed())) {
            Ok(Some(state)) => {
                check(table.name(), &state)?;
                for problem in state.problems() {
                    tracing::warn!(
                        table = table.name(),
                        problem,
                        "the table of the cache is not as it should be"
                    );
                }
                Ok(())
            }
            Ok(None) => Err(call::missing(table.name(), table.region())),
            Err(error @ CacheError::Denied { .. }) => {
                tracing::info!(%error, "the table of the cache is not checked at start");
                Ok(())
            }
            Err(error) if startup == Startup::Degrade && error.is_transient() => {
                tracing::warn!(%error, "starting without the cache; it is used as soon as it can be reached");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

fn config(message: &str) -> CacheError {
    ConfigError::one("CACHE_DYNAMODB_TABLE", message).into()
}
