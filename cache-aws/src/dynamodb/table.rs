//! The table itself: made, looked at, checked.

use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, PointInTimeRecoverySpecification,
    ScalarAttributeType, TableDescription, TableStatus, Tag, TimeToLiveDescription, TimeToLiveSpecification,
    TimeToLiveStatus,
};
use cache_core::config::Startup;
use cache_core::{CacheError, ConfigError};

use super::layout::{KEY, TTL};
use super::retry::{Deadline, Effect, Tries, delay};
use super::{DynamoClient, call, sdk};
use crate::account::{Aws, AwsService};
use crate::error::{self, Request};
use crate::quiet::quiet;

/// How long one request about the table may take.
const REQUEST: Duration = Duration::from_secs(10);

/// A table, to make it or to look at it. Its entries are the business of [`DynamoClient`].
#[derive(Clone)]
pub struct DynamoTable {
    aws: Aws,
    name: String,
    client: Client,
}

/// What a new table is like besides what a cache needs.
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
    /// Whether the table was made; `false` if it was there.
    pub table: bool,
    /// Whether the deletion of expired items was switched on; `false` if it was on.
    pub ttl: bool,
    /// Whether point-in-time recovery was switched on; `false` if it was on or not asked for.
    pub point_in_time_recovery: bool,
}

/// What a table is like, as far as a cache is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableState {
    /// `ACTIVE` if it can be used.
    pub status: String,
    /// Its key attributes, each with its role (`HASH`, `RANGE`) and its type (`S`, `N`, `B`).
    pub key: Vec<(String, String, String)>,
    /// `PAY_PER_REQUEST` or `PROVISIONED`.
    pub billing: String,
    /// How many items it holds, expired ones included, as DynamoDB counted up to six hours ago.
    pub items: u64,
    /// What they take, in bytes, of the same time.
    pub bytes: u64,
    /// The attribute by which expired items are deleted; `None` if that is off or may not be asked.
    pub ttl_attribute: Option<String>,
    /// Whether the role may ask for the deletion of expired items.
    pub ttl_is_known: bool,
}

impl TableState {
    /// Why a cache cannot use the table, or should not; none if all is well. One line each.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.obstacles();
        match self.ttl_attribute.as_deref() {
            Some(TTL) => {}
            Some(other) => problems.push(format!(
                "expired items are deleted by the attribute {other:?}, and a cache writes {TTL:?}: they stay and are paid for; \
                 switch it with `aws dynamodb update-time-to-live`"
            )),
            None if self.ttl_is_known => problems.push(
                "expired items are not deleted: they stay and are paid for; run `cachectl dynamodb create-table`".to_owned(),
            ),
            None => {}
        }
        problems
    }

    /// Why a cache cannot use the table.
    #[must_use]
    pub fn obstacles(&self) -> Vec<String> {
        let mut obstacles = Vec::new();
        let wanted = [(KEY.to_owned(), "HASH".to_owned(), "S".to_owned())];
        if self.key != wanted {
            let found: Vec<String> = self
                .key
                .iter()
                .map(|(name, role, kind)| format!("{name} ({role}, {kind})"))
                .collect();
            obstacles.push(format!(
                "its key is {}, and a cache needs the partition key {KEY} (HASH, S) alone; a key cannot be changed: \
                 make another table",
                found.join(", ")
            ));
        }
        if self.status != "ACTIVE" && self.status != "UPDATING" {
            obstacles.push(format!("its status is {}, not ACTIVE", self.status));
        }
        obstacles
    }
}

impl DynamoTable {
    /// The table `name`, which need not be there.
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

    /// What it is like; `None` if it is not there.
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
    /// As [`describe`](Self::describe); [`CacheError::Config`] if it is not there.
    pub async fn item_count(&self) -> Result<u64, CacheError> {
        match self.description().await? {
            Some(table) => Ok(unsigned(table.item_count)),
            None => Err(call::missing(&self.name, self.aws.region())),
        }
    }

    /// Makes the table (pay per request), waits until it can be used, and switches the deletion of expired items on. What
    /// is there already is left as it is, so that a creation that was interrupted can be done again.
    ///
    /// # Errors
    ///
    /// [`CacheError::Config`] if there is a table of this name that a cache cannot use;
    /// [`CacheError::Timeout`] if it cannot be used in time: do it again.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; what was begun goes on in AWS.
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
                    // Made by another process, or by the request before.
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
            // Not there yet: what was just made is seen a moment later.
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

    /// Sends a request about the table, and again if it failed for a reason that may pass.
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
        let mut tries = Tries::default();
        loop {
            let error = match tokio::time::timeout(tries.limit(effect, &deadline), quiet(request())).await {
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
            let delay = tries.next(effect, error, 5, &deadline)?;
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
    /// Checks at start that the table is there and has a cache's key.
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

fn check(name: &str, state: &TableState) -> Result<(), CacheError> {
    match state.obstacles().as_slice() {
        [] => Ok(()),
        obstacles => Err(config(&format!(
            "the table {name} cannot be used: {}",
            obstacles.join("; ")
        ))),
    }
}

fn state(table: &TableDescription, ttl: Option<&TimeToLiveDescription>) -> TableState {
    let kind = |name: &str| {
        let mut definitions = table.attribute_definitions().iter();
        let definition = definitions.find(|definition| definition.attribute_name() == name);
        definition.map_or_else(String::new, |definition| {
            definition.attribute_type().as_str().to_owned()
        })
    };
    let key = table.key_schema().iter().map(|element| {
        let name = element.attribute_name();
        (
            name.to_owned(),
            element.key_type().as_str().to_owned(),
            kind(name),
        )
    });
    let status = table.table_status().map_or("UNKNOWN", TableStatus::as_str);
    let billing = table
        .billing_mode_summary()
        .and_then(|summary| summary.billing_mode());
    TableState {
        status: status.to_owned(),
        key: key.collect(),
        billing: billing.unwrap_or(&BillingMode::Provisioned).as_str().to_owned(),
        items: unsigned(table.item_count),
        bytes: unsigned(table.table_size_bytes),
        ttl_is_known: ttl.is_some(),
        ttl_attribute: ttl.as_ref().and_then(attribute).map(str::to_owned),
    }
}

/// The attribute by which expired items are deleted, if they are.
fn attribute(ttl: &TimeToLiveDescription) -> Option<&str> {
    match ttl.time_to_live_status()? {
        TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling => ttl.attribute_name(),
        _ => None,
    }
}

fn says<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>, words: &str) -> bool {
    let said = error.as_service_error().and_then(ProvideErrorMetadata::message);
    said.is_some_and(|said| said.contains(words))
}

fn unsigned(number: Option<i64>) -> u64 {
    number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

fn config(message: &str) -> CacheError {
    ConfigError::one("CACHE_DYNAMODB_TABLE", message).into()
}

fn invalid(argument: &'static str, reason: &'static str) -> CacheError {
    CacheError::InvalidInput {
        argument,
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> TableState {
        TableState {
            status: "ACTIVE".to_owned(),
            key: vec![(KEY.to_owned(), "HASH".to_owned(), "S".to_owned())],
            billing: "PAY_PER_REQUEST".to_owned(),
            items: 0,
            bytes: 0,
            ttl_attribute: Some(TTL.to_owned()),
            ttl_is_known: true,
        }
    }

    #[test]
    fn a_good_table_has_no_problems() {
        assert_eq!(good().problems(), [""; 0]);
    }

    #[test]
    fn each_problem_says_what_is_wrong() {
        let said = |change: fn(&mut TableState)| {
            let mut state = good();
            change(&mut state);
            let problems = state.problems();
            assert_eq!(problems.len(), 1, "{problems:?}");
            (problems[0].clone(), state.obstacles().len())
        };
        let (key, obstacles) = said(|state| state.key[0].2 = "B".to_owned());
        assert!(key.contains("key (HASH, B)") && obstacles == 1, "{key}");
        let (range, obstacles) = said(|state| {
            let range = ("at".to_owned(), "RANGE".to_owned(), "N".to_owned());
            state.key.push(range);
        });
        assert!(range.contains("at (RANGE, N)") && obstacles == 1, "{range}");
        let (status, obstacles) = said(|state| state.status = "DELETING".to_owned());
        assert!(status.contains("DELETING") && obstacles == 1, "{status}");
        let (other, obstacles) = said(|state| state.ttl_attribute = Some("expiry".to_owned()));
        assert!(other.contains("\"expiry\"") && obstacles == 0, "{other}");
        let (off, obstacles) = said(|state| state.ttl_attribute = None);
        assert!(off.contains("create-table") && obstacles == 0, "{off}");
    }
}
