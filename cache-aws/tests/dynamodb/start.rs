//! Starting: the table exists and is a cache's, or the error says what to do. And creating the table.

use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use cache_aws::dynamodb::{CreateTable, DynamoClient, DynamoDbOptions, DynamoTable};
use cache_core::config::Startup;
use cache_core::{CacheClient as _, CacheError, Ttl};

use crate::double::{Act, Double};
use crate::emulator::{Emulator, TABLE, aws};

#[tokio::test]
async fn missing_table_error_names_the_create_command() {
    let emulator = Emulator::empty().await;
    for startup in [Startup::Fail, Startup::Degrade] {
        let builder = emulator.builder().await.startup(startup);
        let error = builder.connect().await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, CacheError::Config(_)), "{text}");
        assert!(text.contains("CACHE_DYNAMODB_TABLE"), "{text}");
        assert!(
            text.contains("cachectl dynamodb create-table --table cache"),
            "{text}"
        );
    }
    let error = DynamoClient::connect(&emulator.aws().await, "")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("CACHE_DYNAMODB_TABLE"), "{error}");
}

#[tokio::test]
async fn table_with_another_key_is_refused_at_start() {
    let emulator = Emulator::empty().await;
    let attribute = AttributeDefinition::builder()
        .attribute_name("id")
        .attribute_type(ScalarAttributeType::B);
    let key = KeySchemaElement::builder()
        .attribute_name("id")
        .key_type(KeyType::Hash);
    emulator
        .raw()
        .create_table()
        .table_name(TABLE)
        .attribute_definitions(attribute.build().unwrap())
        .key_schema(key.build().unwrap())
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .unwrap();
    let error = emulator.builder().await.connect().await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("id (HASH, B)") && text.contains("partition key key"),
        "{text}"
    );
    let table = DynamoTable::new(&emulator.aws().await, TABLE);
    let error = table.create(&CreateTable::default()).await.unwrap_err();
    assert!(error.to_string().contains("id (HASH, B)"), "{error}");
}

#[tokio::test]
async fn table_is_created_once_and_completed() {
    let emulator = Emulator::empty().await;
    let table = DynamoTable::new(&emulator.aws().await, TABLE);
    assert_eq!(table.describe().await.unwrap(), None);
    let tags = [("team".to_owned(), "payments".to_owned())];
    let created = table
        .create(&CreateTable::default().with_tags(tags))
        .await
        .unwrap();
    assert!(created.table && created.ttl);
    let state = table.describe().await.unwrap().unwrap();
    assert_eq!(state.problems(), [""; 0]);
    assert_eq!((&*state.billing, &*state.status), ("PAY_PER_REQUEST", "ACTIVE"));
    let client = emulator.client().await;
    client.set("key", "value".into(), Ttl::Forever).await.unwrap();
    let again = table.create(&CreateTable::default()).await.unwrap();
    assert!(!again.table && !again.ttl, "{again:?}");
    assert_eq!(client.get("key").await.unwrap(), "value");
}

#[tokio::test]
async fn interrupted_creation_can_be_repeated() {
    let emulator = Emulator::empty().await;
    // The answer to the creation is lost, and the TTL is not reached.
    let double = Double::start(&emulator.url, |call| match &*call.operation {
        "CreateTable" if call.number == 0 => Act::LoseAnswer,
        "UpdateTimeToLive" => Act::error(400, "AccessDeniedException", "no"),
        _ => Act::Forward,
    })
    .await;
    let table = DynamoTable::new(&aws(&double.url).await, TABLE);
    let error = table.create(&CreateTable::default()).await.unwrap_err();
    assert!(matches!(error, CacheError::Denied { .. }), "{error}");
    let table = DynamoTable::new(&emulator.aws().await, TABLE);
    let problems = table.describe().await.unwrap().unwrap().problems();
    assert!(problems[0].contains("not deleted"), "{problems:?}");
    let created = table.create(&CreateTable::default()).await.unwrap();
    assert!(!created.table && created.ttl, "{created:?}");
}

#[tokio::test]
async fn role_without_describe_can_use_the_table() {
    let emulator = Emulator::start().await;
    let double = Double::start(&emulator.url, |call| match &*call.operation {
        "DescribeTable" | "DescribeTimeToLive" => Act::error(400, "AccessDeniedException", "no"),
        _ => Act::Forward,
    })
    .await;
    let client = DynamoClient::connect(&aws(&double.url).await, TABLE)
        .await
        .unwrap();
    client.set("key", "value".into(), Ttl::Forever).await.unwrap();
    assert_eq!(client.get("key").await.unwrap(), "value");
}

#[tokio::test]
async fn hanging_service_fails_start_or_is_tolerated() {
    let emulator = Emulator::start().await;
    let double = Double::start(&emulator.url, |call| match &*call.operation {
        "DescribeTable" => Act::Hang,
        _ => Act::Forward,
    })
    .await;
    let aws = aws(&double.url).await;
    let options = DynamoDbOptions::default()
        .with_read_timeout(Duration::from_millis(300))
        .with_connect_timeout(Duration::from_millis(300));
    let builder = DynamoClient::builder(&aws, TABLE).options(options);
    let error = builder.connect().await.unwrap_err();
    assert!(matches!(error, CacheError::Timeout { .. }), "{error}");
    let builder = DynamoClient::builder(&aws, TABLE).options(options);
    let client = builder.startup(Startup::Degrade).connect().await.unwrap();
    client.ping().await.unwrap();
}
