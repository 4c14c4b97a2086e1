//! Creates a table: requests it, waits for it and completes it. An interrupted creation can be repeated.

use std::time::Duration;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, PointInTimeRecoverySpecification,
    ScalarAttributeType, TableStatus, Tag, TimeToLiveSpecification,
};
use cache_core::CacheError;

use super::super::layout::{KEY, TTL};
use super::super::retry::{Deadline, Effect, delay};
use super::state::{attribute, check, state};
use super::{DynamoTable, config};
use crate::error;

/// Options of a new table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreateTable {
    /// Whether the table can be restored to any second of the last 35 days; it costs by the size of the table, and
    /// what a cache holds can usually be loaded again.
    pub point_in_time_recovery: bool,
    /// The table's tags.
    pub tags: Vec<(String, String)>,
    /// How long to wait until the table can be used.
    pub patience: Duration,
}

impl Default for CreateTable {
    fn default() -> Self {
        Self {
            point_in_time_recovery: false,
            tags: Vec::new(),
            patience: Duration::from_secs(300),
        }
    }
}

impl CreateTable {
    /// Whether the table can be restored to any second of the last 35 days. Default: no.
    #[must_use]
    pub const fn with_point_in_time_recovery(mut self, recovery: bool) -> Self {
        self.point_in_time_recovery = recovery;
        self
    }

    /// The table's tags. Default: none.
    #[must_use]
    pub fn with_tags(mut self, tags: impl IntoIterator<Item = (String, String)>) -> Self {
        self.tags = tags.into_iter().collect();
        self
    }

    /// How long to wait until the table can be used. Default: 5 minutes.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// What [`DynamoTable::create`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Created {
    /// Whether the table was created; `false` if it existed.
    pub table: bool,
    /// Whether the deletion of expired items was switched on; `false` if it was on.
    pub ttl: bool,
    /// Whether point-in-time recovery was switched on; `false` if it was on or not asked for.
    pub point_in_time_recovery: bool,
}

impl DynamoTable {
    /// Creates the table (pay per request), waits until it can be used, and enables the deletion of expired
    /// items. Existing parts are left as they are, so that an interrupted creation can be repeated.
    ///
    /// # Errors
    ///
    /// [`CacheError::Config`] if there is a table of this name that a cache cannot use;
    /// [`CacheError::Timeout`] if it cannot be used in time: repeat the call.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; AWS completes what was requested.
    pub async fn create(&self, options: &CreateTable) -> Result<Created, CacheError> {
        let deadline = Deadline::after(options.patience);
        let mut created = Created {
            table: false,
            ttl: false,
            point_in_time_recovery: false,
        };
        if self.description().await?.is_none() {
            created.table = self.request_creation(options).await?;
        }
        self.wait_until_usable(&deadline).await?;
        created.ttl = self.switch_ttl_on().await?;
        if options.point_in_time_recovery {
            created.point_in_time_recovery = self.switch_recovery_on(&deadline).await?;
        }
        Ok(created)
    }

    async fn request_creation(&self, options: &CreateTable) -> Result<bool, CacheError> {
        let tags = options.tags.iter().map(|(key, value)| {
            let tag = Tag::builder().key(key).value(value).build();
            tag.map_err(|_| invalid("tags", "a tag has a key and a value"))
        });
        let tags: Vec<Tag> = tags.collect::<Result<_, _>>()?;
        let key = AttributeDefinition::builder()
            .attribute_name(KEY)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .map_err(|_| invalid("table", "its key cannot be described"))?;
        let schema = KeySchemaElement::builder()
            .attribute_name(KEY)
            .key_type(KeyType::Hash)
            .build()
            .map_err(|_| invalid("table", "its key cannot be described"))?;
        self.ask(Effect::Write, "dynamodb:CreateTable", || {
            let request = self
                .client
                .create_table()
                .table_name(&self.name)
                .attribute_definitions(key.clone())
                .key_schema(schema.clone())
                .billing_mode(BillingMode::PayPerRequest)
                .set_tags((!tags.is_empty()).then(|| tags.clone()));
            async move {
                match request.send().await {
                    Ok(_) => Ok(true),
                    // Created by another process, or by an earlier request.
                    Err(error) if error::code(&error) == Some("ResourceInUseException") => Ok(false),
                    Err(error) => Err(error),
                }
            }
        })
        .await
    }

    async fn wait_until_usable(&self, deadline: &Deadline) -> Result<(), CacheError> {
        for repeated in 3.. {
            let table = self.description().await?;
            // A new table becomes visible a moment later.
            if let Some(table) = table {
                let state = state(&table, None);
                if state.status == TableStatus::Active.as_str() {
                    return check(&self.name, &state);
                }
                if state.status == TableStatus::Deleting.as_str() {
                    return Err(config(&format!(
                        "the table {} is being deleted: wait, or take another name",
                        self.name
                    )));
                }
            }
            let delay = delay(repeated);
            if delay >= deadline.remaining() {
                break;
            }
            tokio::time::sleep(delay).await;
        }
        Err(deadline.passed())
    }

    async fn switch_ttl_on(&self) -> Result<bool, CacheError> {
        let ttl = self.time_to_live().await?;
        match attribute(&ttl) {
            Some(TTL) => return Ok(false),
            Some(other) => {
                return Err(config(&format!(
                    "the table {} deletes expired items by the attribute {other:?}, and a cache writes {TTL:?}: switch that off \
                     first, with `aws dynamodb update-time-to-live`",
                    self.name
                )));
            }
            None => {}
        }
        let ttl = TimeToLiveSpecification::builder()
            .enabled(true)
            .attribute_name(TTL)
            .build()
            .map_err(|_| invalid("table", "its TTL attribute cannot be described"))?;
        self.ask(Effect::Write, "dynamodb:UpdateTimeToLive", || {
            let request = self
                .client
                .update_time_to_live()
                .table_name(&self.name)
                .time_to_live_specification(ttl.clone());
            async move {
                match request.send().await {
                    Ok(_) => Ok(true),
                    Err(error) if says(&error, "already enabled") => Ok(false),
                    Err(error) => Err(error),
                }
            }
        })
        .await
    }

    /// A new table takes a while until it can be backed up.
    async fn switch_recovery_on(&self, deadline: &Deadline) -> Result<bool, CacheError> {
        let recovery = PointInTimeRecoverySpecification::builder()
            .point_in_time_recovery_enabled(true)
            .build()
            .map_err(|_| invalid("table", "its recovery cannot be described"))?;
        for repeated in 3.. {
            let switched = self.ask(Effect::Write, "dynamodb:UpdateContinuousBackups", || {
                let request = self
                    .client
                    .update_continuous_backups()
                    .table_name(&self.name)
                    .point_in_time_recovery_specification(recovery.clone());
                async move {
                    match request.send().await {
                        Ok(_) => Ok(true),
                        Err(error)
                            if error::code(&error) == Some("ContinuousBackupsUnavailableException") =>
                        {
                            Ok(false)
                        }
                        Err(error) => Err(error),
                    }
                }
            });
            if switched.await? {
                return Ok(true);
            }
            let delay = delay(repeated);
            if delay >= deadline.remaining() {
                break;
            }
            tokio::time::sleep(delay).await;
        }
        Err(deadline.passed())
    }
}

fn says<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>, words: &str) -> bool {
    let said = error.as_service_error().and_then(ProvideErrorMetadata::message);
    said.is_some_and(|said| said.contains(words))
}

fn invalid(argument: &'static str, reason: &'static str) -> CacheError {
    CacheError::InvalidInput {
        argument,
        reason: reason.into(),
    }
}
