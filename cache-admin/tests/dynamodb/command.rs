//! `cachectl dynamodb`, and other commands on a table.

use aws_sdk::create_foreign;
use serde_json::{Value, json};

use crate::{Emulator, fill};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_table_makes_the_table_once_and_says_before_what_it_would_do() {
    let emulator = Emulator::empty().await;
    let (code, _, said) = emulator.cachectl(&["ping"]).await;
    assert_eq!(code, 6, "{said}");
    assert!(
        said.contains("cachectl dynamodb create-table --table cache"),
        "{said}"
    );
    let (code, _, said) = emulator.cachectl(&["dynamodb", "describe"]).await;
    assert_eq!(code, 6, "{said}");
    let (code, plan, said) = emulator
        .cachectl(&["dynamodb", "create-table", "--dry-run", "--tag", "team=payments"])
        .await;
    assert_eq!(code, 0, "{said}");
    for step in [
        "cache in eu-west-2: would",
        "partition key `key`",
        "team=payments",
        "`ttl`",
    ] {
        assert!(plan.contains(step), "{plan}");
    }
    let (code, _, _) = emulator.cachectl(&["dynamodb", "describe"]).await;
    assert_eq!(code, 6, "nothing was made");
    let (code, made, said) = emulator.cachectl(&["--json", "dynamodb", "create-table"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(json(&made)["created"], true);
    assert_eq!(json(&made)["ttl_enabled"], true);
    let (code, again, _) = emulator.cachectl(&["dynamodb", "create-table"]).await;
    assert_eq!(code, 0);
    assert!(again.contains("nothing to do"), "{again}");
    let (code, plan, _) = emulator
        .cachectl(&["dynamodb", "create-table", "--dry-run"])
        .await;
    assert_eq!(code, 0);
    assert!(plan.contains("nothing to do"), "{plan}");
    let (code, shown, _) = emulator.cachectl(&["--json", "dynamodb", "describe"]).await;
    assert_eq!(code, 0);
    assert_eq!(json(&shown)["problems"], json!([]));
    assert_eq!(json(&shown)["ttl_attribute"], "ttl");
    let (code, shown, _) = emulator.cachectl(&["dynamodb", "describe"]).await;
    assert_eq!(code, 0);
    assert!(shown.contains("key (HASH, S)"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn describe_says_what_is_wrong_with_a_table() {
    let emulator = Emulator::empty().await;
    create_foreign(&emulator.url).await;
    let (code, shown, said) = emulator.cachectl(&["dynamodb", "describe"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(shown.contains("id (HASH, S)"), "{shown}");
    assert!(said.contains("a key cannot be changed"), "{said}");
    assert!(said.contains("expired items are not deleted"), "{said}");
    let (code, _, said) = emulator.cachectl(&["dynamodb", "create-table"]).await;
    assert_eq!(code, 6, "{said}");
    assert!(said.contains("id (HASH, S)"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_on_keys_work_on_a_table() {
    let emulator = Emulator::start().await;
    let client = emulator.client().await;
    fill(&client, "a:", 30).await;
    fill(&client, "b:", 5).await;
    assert_eq!(emulator.cachectl(&["ping"]).await.0, 0);
    assert_eq!(
        emulator.cachectl(&["set", "b:x", "text", "--ttl", "5m"]).await.0,
        0
    );
    assert_eq!(emulator.cachectl(&["get", "b:x"]).await.1, "text");
    let (code, listed, said) = emulator.cachectl(&["keys", "b:*"]).await;
    assert_eq!((code, listed.lines().count()), (0, 6), "{said}");
    let (code, counted, said) = emulator
        .cachectl(&["--json", "invalidate", "a:*", "--dry-run"])
        .await;
    assert_eq!(code, 0, "{said}");
    assert!(counted.contains("30"), "{counted}");
    let (code, _, said) = emulator.cachectl(&["invalidate", "a:*"]).await;
    assert_eq!(code, 0, "{said}");
    let (_, listed, _) = emulator.cachectl(&["keys", "*"]).await;
    assert_eq!(listed.lines().count(), 6, "{listed}");
    let (code, shown, said) = emulator.cachectl(&["inspect", "b:x"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(shown.contains("dynamodb:eu-west-2/cache"), "{shown}");
    let (code, shown, _) = emulator.cachectl(&["topology"]).await;
    assert_eq!(code, 0);
    assert!(shown.contains("the table cache in eu-west-2"), "{shown}");
    let (code, _, said) = emulator.cachectl(&["bigkeys"]).await;
    assert_ne!(code, 0, "{said}");
}

/// A table that is none of a cache's, made past our own client.
mod aws_sdk {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    pub(super) async fn create_foreign(url: &str) {
        let body = r#"{"TableName":"cache","BillingMode":"PAY_PER_REQUEST",
            "AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}],
            "KeySchema":[{"AttributeName":"id","KeyType":"HASH"}]}"#;
        let host = url.trim_start_matches("http://");
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {host}\r\nx-amz-target: DynamoDB_20120810.CreateTable\r\n\
             content-type: application/x-amz-json-1.0\r\nx-amz-date: 20260101T000000Z\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=key/20260101/eu-west-2/dynamodb/aws4_request, \
             SignedHeaders=host, Signature=0\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(host).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
