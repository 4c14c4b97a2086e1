//! An emulator of DynamoDB in this process, and clients of it.

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use cache_aws::dynamodb::{CreateTable, DynamoClient, DynamoClientBuilder, DynamoTable};
use cache_aws::{Aws, AwsService};
use tokio::net::TcpListener;

pub(crate) const TABLE: &str = "cache";

/// An emulator; it ends with the runtime that it was started in.
pub(crate) struct Emulator {
    pub(crate) url: String,
}

impl Emulator {
    /// Starts one without a table.
    pub(crate) async fn empty() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let database = dynoxide::Database::memory().unwrap();
        tokio::spawn(dynoxide::server::serve_on(listener, database));
        Self { url }
    }

    /// Starts one with the table [`TABLE`].
    pub(crate) async fn start() -> Self {
        let emulator = Self::empty().await;
        let table = DynamoTable::new(&emulator.aws().await, TABLE);
        table.create(&CreateTable::default()).await.unwrap();
        emulator
    }

    pub(crate) async fn aws(&self) -> Aws {
        aws(&self.url).await
    }

    pub(crate) async fn builder(&self) -> DynamoClientBuilder {
        DynamoClient::builder(&self.aws().await, TABLE)
    }

    pub(crate) async fn client(&self) -> DynamoClient {
        self.builder().await.connect().await.unwrap()
    }

    /// The SDK's own client, to see what is stored.
    pub(crate) fn raw(&self) -> aws_sdk_dynamodb::Client {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("eu-west-2"))
            .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
            .endpoint_url(&self.url);
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }
}

/// A set-up whose requests for DynamoDB go to `url`.
pub(crate) async fn aws(url: &str) -> Aws {
    Aws::builder()
        .region("eu-west-2")
        .credentials(
            "AKIDEXAMPLE",
            "s3cr3t-access-key".into(),
            Some("s3cr3t-session".into()),
        )
        .service_endpoint(AwsService::DynamoDb, url)
        .load()
        .await
        .unwrap()
}
