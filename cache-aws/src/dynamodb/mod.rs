//! A cache whose entries are items of a DynamoDB table.
//!
//! The public client. Not in here: the layout of items (`layout.rs`), the calls of the contract
//! (`contract.rs`, `batch.rs` and `counter.rs`), deadlines and retries (`call.rs` and `retry.rs`), the table
//! itself (`table.rs`), scanning all keys (`scan.rs`).

mod batch;
mod call;
mod clock;
mod combined;
mod contract;
mod cost;
mod counter;
mod each;
mod layout;
mod options;
mod retry;
mod scan;
mod table;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::StalledStreamProtectionConfig;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use cache_core::config::{DynamoDbConfig, Startup};
use cache_core::{CacheConfig, CacheError};
use tokio::sync::watch;

pub use self::cost::{DynamoDbStats, METRICS, Metric, markdown};
pub use self::options::{Consistency, DynamoDbOptions};
pub use self::scan::{SegmentPage, SegmentScan};
pub use self::table::{CreateTable, Created, DynamoTable, TableState};

use self::clock::{DateReader, TableClock, WallClock};
use self::cost::Cost;
use crate::account::{Aws, AwsService};

/// A cache whose entries are items of a DynamoDB table.
///
/// The table needs the partition key `key` (a string) and nothing else; [`DynamoTable::create`] creates one.
/// An item has the entry's value in `value`, its expiry in `expires_ms` (milliseconds), and the same in `ttl`
/// (seconds, rounded up), by which DynamoDB deletes it some time later. Until then, reads ignore expired
/// items.
///
/// # Limits
///
/// A key has at most 2,048 bytes, a value at most [`MAX_VALUE_LEN`](Self::MAX_VALUE_LEN). Larger ones are
/// [`CacheError::InvalidInput`], and nothing is sent.
///
/// # Time
///
/// Entries expire by the clock of the reading process. Synchronise clocks with NTP. If the `Date` of
/// DynamoDB's responses shows that a clock is off by more than two seconds, it is corrected.
///
/// # Retries
///
/// A request is retried within the call's deadline after a transient error (throttling, an error of the
/// service, a lost connection). An increment or a conditional write is retried only if it certainly was not
/// applied; otherwise the error's [`outcome`](CacheError::outcome) is unknown. The SDK's own retries are off.
///
/// # Changes by others
///
/// DynamoDB does not report changes: [`invalidations`](cache_core::CacheClient::invalidations) is `None`. A
/// near cache in front keeps entries for a short time instead, and waiting for a load in another process
/// polls.
///
/// # Examples
///
/// ```no_run
/// use cache_aws::{Aws, dynamodb::DynamoClient};
/// use cache_core::{CacheClient, CacheError, Ttl};
///
/// # async fn run() -> Result<(), CacheError> {
/// let aws = Aws::from_env().await?;
/// let cache = DynamoClient::connect(&aws, "cache").await?;
/// cache.set("greeting", "hello".into(), Ttl::secs(60)).await?;
/// println!("{:?}", cache.stats());
/// # Ok(())
/// # }
/// ```
pub struct DynamoClient {
    table: Arc<Table>,
}

/// The table, and how requests to it are made.
struct Table {
    name: String,
    aws: Aws,
    client: Client,
    options: DynamoDbOptions,
    clock: Arc<TableClock>,
    cost: Cost,
    closed: watch::Sender<bool>,
}

/// Builds a [`DynamoClient`] with options.
pub struct DynamoClientBuilder {
    aws: Aws,
    table: String,
    options: DynamoDbOptions,
    startup: Startup,
    wall: WallClock,
}

impl DynamoClient {
    /// The largest value, in bytes: an item's limit of 400 KB less the longest key.
    pub const MAX_VALUE_LEN: usize = layout::MAX_VALUE_LEN;

    /// The longest key, in bytes.
    pub const MAX_KEY_LEN: usize = layout::MAX_KEY_LEN;

    /// Connects to the table `table` with default options.
    ///
    /// # Errors
    ///
    /// As [`DynamoClientBuilder::connect`].
    pub async fn connect(aws: &Aws, table: impl Into<String>) -> Result<Self, CacheError> {
        Self::builder(aws, table).connect().await
    }

    /// Starts a builder with more options.
    pub fn builder(aws: &Aws, table: impl Into<String>) -> DynamoClientBuilder {
        DynamoClientBuilder {
            aws: aws.clone(),
            table: table.into(),
            options: DynamoDbOptions::default(),
            startup: Startup::Fail,
            wall: clock::system(),
        }
    }

    /// The table's name.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table.name
    }

    /// The region that the table is in.
    #[must_use]
    pub fn region(&self) -> &str {
        self.table.aws.region()
    }

    /// The client's options.
    #[must_use]
    pub fn options(&self) -> &DynamoDbOptions {
        &self.table.options
    }

    /// The cost of its requests so far.
    #[must_use]
    pub fn stats(&self) -> DynamoDbStats {
        self.table.cost.stats(self.table.clock.offset())
    }

    /// The table itself, to create or describe it.
    #[must_use]
    pub fn administration(&self) -> DynamoTable {
        DynamoTable::new(&self.table.aws, self.table.name.clone())
    }
}

impl fmt::Debug for DynamoClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "DynamoClient({} in {})",
            self.table.name,
            self.table.aws.region()
        )
    }
}

impl DynamoClientBuilder {
    /// Sets the options. Default: [`DynamoDbOptions::default`].
    #[must_use]
    pub const fn options(mut self, options: DynamoDbOptions) -> Self {
        self.options = options;
        self
    }

    /// What to do if DynamoDB cannot be reached at start. Default: [`Startup::Fail`].
    #[must_use]
    pub const fn startup(mut self, startup: Startup) -> Self {
        self.startup = startup;
        self
    }

    /// The clock that entries expire by, for tests. Default: the machine's clock.
    #[must_use]
    pub fn wall_clock(mut self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.wall = Arc::new(clock);
        self
    }

    /// Creates the client, and checks that the table exists and has a cache's key.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for unusable [options](DynamoDbOptions); [`CacheError::Config`] for an
    /// invalid table name, and if the table is missing or has another key; [`CacheError::Unauthorized`] and
    /// [`CacheError::Denied`] for credentials that cannot be used; with [`Startup::Fail`] also
    /// [`CacheError::Unavailable`] and [`CacheError::Timeout`] if DynamoDB does not answer. A role that may
    /// not describe the table is no error; the first calls show then what is wrong.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn connect(self) -> Result<DynamoClient, CacheError> {
        CacheConfig::builder()
            .dynamodb(DynamoDbConfig::new(&*self.table))
            .build()?;
        self.options.check()?;
        let clock = Arc::new(TableClock::new(self.wall));
        let client = sdk(&self.aws, self.options.connect_timeout, Some(&clock));
        let table = Table {
            cost: Cost::new(&self.table),
            name: self.table,
            aws: self.aws,
            client,
            options: self.options,
            clock,
            closed: watch::Sender::new(false),
        };
        let client = DynamoClient {
            table: Arc::new(table),
        };
        client.check(self.startup).await?;
        Ok(client)
    }
}

impl fmt::Debug for DynamoClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoClientBuilder")
            .field("table", &self.table)
            .field("options", &self.options)
            .field("startup", &self.startup)
            .finish_non_exhaustive()
    }
}

/// The SDK's client. Its retries and its limits for whole requests are off: `retry.rs` knows what may be repeated.
fn sdk(aws: &Aws, connect_timeout: Duration, clock: Option<&Arc<TableClock>>) -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(connect_timeout)
        .disable_read_timeout()
        .disable_operation_timeout()
        .disable_operation_attempt_timeout()
        .build();
    let mut config = aws_sdk_dynamodb::config::Builder::from(&aws.sdk_config(AwsService::DynamoDb))
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(clock) = clock {
        config = config.interceptor(DateReader(Arc::clone(clock)));
    }
    Client::from_conf(config.build())
}
