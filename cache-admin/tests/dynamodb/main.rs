//! Administration of a DynamoDB table: the engine, and the command `cachectl dynamodb`; on an emulator in this process.

#![expect(clippy::unwrap_used, reason = "a test ends where its preparations fail")]

mod command;
mod engine;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cache_aws::dynamodb::{CreateTable, DynamoClient, DynamoDbOptions, DynamoTable};
use cache_aws::{Aws, AwsService};
use cache_core::{CacheClient as _, Ttl};
use tokio::net::TcpListener;

const TABLE: &str = "cache";

/// An emulator; it ends with the runtime that it was started in.
struct Emulator {
    url: String,
    aws: Aws,
}

impl Emulator {
    async fn empty() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let database = dynoxide::Database::memory().unwrap();
        tokio::spawn(dynoxide::server::serve_on(listener, database));
        let aws = Aws::builder()
            .region("eu-west-2")
            .credentials("AKIDEXAMPLE", "none".into(), None)
            .service_endpoint(AwsService::DynamoDb, &url);
        let aws = aws.load().await.unwrap();
        Self { url, aws }
    }

    /// With the table [`TABLE`].
    async fn start() -> Self {
        let emulator = Self::empty().await;
        let table = DynamoTable::new(&emulator.aws, TABLE);
        table.create(&CreateTable::default()).await.unwrap();
        emulator
    }

    async fn client(&self) -> DynamoClient {
        // The emulator is not optimised, and the machine is shared.
        let options = DynamoDbOptions::default()
            .with_read_timeout(Duration::from_secs(60))
            .with_write_timeout(Duration::from_secs(60));
        let client = DynamoClient::builder(&self.aws, TABLE).options(options);
        client.connect().await.unwrap()
    }

    /// Runs `cachectl`; its exit code, its output, and what it says on standard error.
    async fn cachectl(&self, arguments: &[&str]) -> (i32, String, String) {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_cachectl"))
            .args(arguments)
            .env_clear()
            .env("HOME", home)
            .env("AWS_ENDPOINT_URL_DYNAMODB", &self.url)
            .env("AWS_REGION", "eu-west-2")
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "none")
            .env("CACHE_TYPE", "dynamodb")
            .env("CACHE_DYNAMODB_TABLE", TABLE)
            .output()
            .await
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    }
}

/// Stores `count` entries under `prefix` and a number.
async fn fill(client: &DynamoClient, prefix: &str, count: usize) {
    let keys: Vec<String> = (0..count).map(|number| format!("{prefix}{number}")).collect();
    for keys in keys.chunks(1_000) {
        let entries: Vec<(&str, Bytes)> = keys.iter().map(|key| (&**key, "x".into())).collect();
        client.set_many(&entries, Ttl::Forever).await.unwrap();
    }
}
