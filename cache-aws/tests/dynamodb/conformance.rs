//! The contract, against the emulator.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use cache_aws::dynamodb::{DynamoClient, DynamoDbOptions};
use cache_core::conformance::{ForeignValues, Outage, Subject};

use crate::double::{Act, Double};
use crate::emulator::{Emulator, TABLE, aws};

/// The emulator handles one request at a time, so the load is lower than elsewhere, and calls have more time.
fn subject(client: DynamoClient) -> Subject {
    Subject::new(client)
        .with_largest_value(DynamoClient::MAX_VALUE_LEN)
        .with_longest_key(DynamoClient::MAX_KEY_LEN)
        .with_drops(1_500)
        .with_load(10, 60)
        .with_patience(Duration::from_secs(60))
}

fn options() -> DynamoDbOptions {
    DynamoDbOptions::default()
        .with_read_timeout(Duration::from_secs(30))
        .with_write_timeout(Duration::from_secs(30))
}

struct Unreachable(Arc<Double>);

#[async_trait]
impl Outage for Unreachable {
    async fn begin(&self) {
        self.0.set_down(true);
    }

    async fn end(&self) {
        self.0.set_down(false);
    }
}

/// Another program, whose items have a text where the cache has its value.
struct Texts(aws_sdk_dynamodb::Client);

#[async_trait]
impl ForeignValues for Texts {
    async fn put(&self, key: &str) {
        let put = self.0.put_item().table_name(TABLE);
        let put = put.item("key", AttributeValue::S(key.to_owned()));
        let put = put.item("value", AttributeValue::S("text".to_owned()));
        put.send().await.unwrap();
    }
}

cache_core::conformance_tests! {
    mod dynoxide in real time with foreign = async {
        let emulator = Emulator::start().await;
        let texts = Texts(emulator.raw());
        let client = emulator.builder().await.options(options()).connect().await.unwrap();
        subject(client).with_foreign_values(texts)
    };
}

#[test]
fn ping_fails_while_the_service_is_unreachable() {
    cache_core::conformance::run(
        "ping_fails_while_a_primary_is_gone",
        cache_core::conformance::Time::Real,
        async {
            let emulator = Emulator::start().await;
            let double = Double::start(&emulator.url, |_| Act::Forward).await;
            let client = DynamoClient::builder(&aws(&double.url).await, TABLE);
            let client = client.options(options()).connect().await.unwrap();
            subject(client).with_outage(Unreachable(Arc::new(double)))
        },
    );
}
