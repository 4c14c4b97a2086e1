//! What a fleet of brokers caches in: the same tests run on each, with values encrypted and a near cache, by
//! configuration alone.

use anyhow::Result;
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version};

/// A cache for one fleet, gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Backing {
    /// The `CACHE_*` variables, and those of the AWS SDK, that lead a broker to it.
    pub(crate) variables: Vec<(String, String)>,
    /// What the broker's description of its cache holds.
    pub(crate) described: &'static str,
    servers: Servers,
}

#[derive(Debug)]
enum Servers {
    Single(Server),
    Cluster(Cluster),
    /// It ends with the runtime of the test.
    #[cfg(feature = "aws")]
    DynamoDb,
}

/// What is configured on each of them.
const ALWAYS: [(&str, &str); 3] = [
    ("CACHE_L1_MAX_BYTES", "8MiB"),
    ("CACHE_ENCRYPTION_ENABLED", "true"),
    (
        "CACHE_ENCRYPTION_KEYSET_FILE",
        concat!(env!("CARGO_MANIFEST_DIR"), "/token-broker/demo/keyset.json"),
    ),
];

impl Backing {
    /// One Valkey of its own, so that it can be killed.
    pub(crate) async fn single() -> Result<Self> {
        let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
        let address = server.address();
        Ok(Self::of(
            "Valkey",
            &[("CACHE_ADDRS", &address)],
            Servers::Single(server),
        ))
    }

    /// A cluster of three primaries.
    pub(crate) async fn cluster() -> Result<Self> {
        let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
        let addresses = cluster.addresses().join(",");
        let variables = [("CACHE_ADDRS", addresses.as_str()), ("CACHE_MODE", "cluster")];
        Ok(Self::of("cluster", &variables, Servers::Cluster(cluster)))
    }

    /// A table of DynamoDB, as an emulator in this process has it.
    #[cfg(feature = "aws")]
    pub(crate) async fn dynamodb() -> Result<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?.to_string();
        let database = dynoxide::Database::memory()?;
        tokio::spawn(dynoxide::server::serve_on(listener, database));
        create_table(&address).await?;
        let url = format!("http://{address}");
        let variables = [
            ("CACHE_TYPE", "dynamodb"),
            ("CACHE_DYNAMODB_TABLE", TABLE),
            ("AWS_ENDPOINT_URL_DYNAMODB", &url),
            ("AWS_REGION", "eu-west-2"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "any"),
        ];
        Ok(Self::of("DynamoDB", &variables, Servers::DynamoDb))
    }

    fn of(described: &'static str, variables: &[(&str, &str)], servers: Servers) -> Self {
        let variables = variables.iter().chain(&ALWAYS);
        Self {
            variables: variables
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            described,
            servers,
        }
    }

    /// The servers are gone from one moment to the next.
    pub(crate) fn kill(&self) -> Result<()> {
        match &self.servers {
            Servers::Single(server) => server.kill(),
            Servers::Cluster(cluster) => cluster.nodes().iter().try_for_each(Server::kill),
            #[cfg(feature = "aws")]
            Servers::DynamoDb => anyhow::bail!("it runs in this process"),
        }
    }
}

#[cfg(feature = "aws")]
const TABLE: &str = "tokens";

/// What `cachectl dynamodb create-table` does, as far as an emulator takes notice.
#[cfg(feature = "aws")]
async fn create_table(address: &str) -> Result<()> {
    use crate::http::Request;

    let table = serde_json::json!({
        "TableName": TABLE,
        "AttributeDefinitions": [{ "AttributeName": "key", "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": "key", "KeyType": "HASH" }],
        "BillingMode": "PAY_PER_REQUEST",
    });
    let request = Request::get("/")
        .method("POST")
        .json(&table.to_string())
        .header("x-amz-target", "DynamoDB_20120810.CreateTable")
        .header("x-amz-date", "20260101T000000Z")
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=any/20260101/eu-west-2/dynamodb/aws4_request, SignedHeaders=host, Signature=none",
        );
    let response = request.send(address).await?;
    anyhow::ensure!(response.status == 200, "{response:?}");
    Ok(())
}
