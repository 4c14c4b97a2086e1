//! A table on an emulator in this process, and clients of it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_aws::dynamodb::{CreateTable, DynamoClient, DynamoClientBuilder, DynamoDbOptions, DynamoTable};
use cache_aws::{Aws, AwsService};
use tokio::net::TcpListener;

pub(crate) const TABLE: &str = "cache";

/// How long calls may take: unoptimised, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An emulator with a table; it ends with the runtime that it was started in.
pub(crate) struct Table {
    pub(crate) url: String,
    pub(crate) aws: Aws,
}

impl Table {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let database = dynoxide::Database::memory()
            .map_err(|error| anyhow::anyhow!("{error:?}"))
            .context("the emulator's database")?;
        tokio::spawn(dynoxide::server::serve_on(listener, database));
        Self::at(url).await
    }

    /// On the emulator at `url`.
    pub(crate) async fn at(url: String) -> Result<Self> {
        let aws = aws(&url).await?;
        DynamoTable::new(&aws, TABLE)
            .create(&CreateTable::default())
            .await?;
        Ok(Self { url, aws })
    }

    pub(crate) fn builder(&self) -> DynamoClientBuilder {
        let options = DynamoDbOptions::default()
            .with_read_timeout(PATIENCE)
            .with_write_timeout(PATIENCE);
        DynamoClient::builder(&self.aws, TABLE).options(options)
    }

    pub(crate) async fn client(&self) -> Result<DynamoClient> {
        Ok(self.builder().connect().await?)
    }
}

/// A set-up whose requests for DynamoDB go to `url`.
pub(crate) async fn aws(url: &str) -> Result<Aws> {
    let aws = Aws::builder()
        .region("eu-west-2")
        .credentials("AKIDEXAMPLE", "none".into(), None)
        .service_endpoint(AwsService::DynamoDb, url);
    Ok(Box::pin(aws.load()).await?)
}
