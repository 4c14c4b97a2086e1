//! Failures of the service: each call ends by its deadline, and reports correctly whether it was applied.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cache_aws::dynamodb::{Consistency, DynamoClient, DynamoDbOptions};
use cache_core::clock;
use cache_core::{CacheClient as _, CacheError, Outcome, Ttl};

use crate::double::{Act, Call, Double};
use crate::emulator::{Emulator, TABLE, aws};

const TEN_MINUTES: Ttl = Ttl::secs(600);

struct Scene {
    double: Double,
    client: DynamoClient,
    /// Past the proxy.
    beside: DynamoClient,
}

impl Scene {
    async fn new(script: impl Fn(&Call) -> Act + Send + Sync + 'static) -> Self {
        Self::with(DynamoDbOptions::default(), script).await
    }

    async fn with(options: DynamoDbOptions, script: impl Fn(&Call) -> Act + Send + Sync + 'static) -> Self {
        let emulator = Emulator::start().await;
        let double = Double::start(&emulator.url, script).await;
        let client = DynamoClient::builder(&aws(&double.url).await, TABLE);
        Self {
            client: client.options(options).connect().await.unwrap(),
            beside: emulator.client().await,
            double,
        }
    }
}

/// Does `act` to the first `times` requests of `operation`.
fn first(operation: &'static str, times: usize, act: fn() -> Act) -> impl Fn(&Call) -> Act {
    move |call| {
        if call.operation == operation && call.number < times {
            act()
        } else {
            Act::Forward
        }
    }
}

fn throttled() -> Act {
    Act::error(400, "ProvisionedThroughputExceededException", "too much")
}

fn internal() -> Act {
    Act::error(500, "InternalServerError", "sorry")
}

#[tokio::test]
async fn throttled_requests_are_retried() {
    for act in [throttled, || Act::error(400, "ThrottlingException", "too much")] {
        let scene = Scene::new(first("UpdateItem", 2, act)).await;
        assert_eq!(scene.client.incr("count").await.unwrap(), 1);
        assert_eq!(scene.double.count("UpdateItem"), 3);
        assert_eq!(scene.client.stats().throttled, 2);
    }
}

#[tokio::test]
async fn endless_throttling_ends_as_a_transient_error() {
    let options = DynamoDbOptions::default()
        .with_read_timeout(Duration::from_millis(400))
        .with_max_retries(100);
    let scene = Scene::with(options, first("GetItem", usize::MAX, throttled)).await;
    let began = clock::now();
    let error = scene.client.get("key").await.unwrap_err();
    assert!(clock::now() - began < Duration::from_secs(2));
    assert!(
        error.is_transient() && error.outcome() == Outcome::NotApplied,
        "{error}"
    );
    assert!(error.to_string().contains("throttles"), "{error}");
}

#[tokio::test]
async fn increment_is_not_retried_after_a_lost_answer() {
    let scene = Scene::new(first("UpdateItem", 1, || Act::LoseAnswer)).await;
    let error = scene.client.incr("count").await.unwrap_err();
    assert!(
        error.is_transient() && error.outcome() == Outcome::Unknown,
        "{error}"
    );
    assert_eq!(scene.double.count("UpdateItem"), 1);
    assert_eq!(scene.beside.get("count").await.unwrap(), "1");
}

#[tokio::test]
async fn increment_is_not_retried_after_internal_error() {
    let scene = Scene::new(first("UpdateItem", 1, internal)).await;
    let error = scene.client.incr_by("count", 5, TEN_MINUTES).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert_eq!(scene.double.count("UpdateItem"), 1);
}

#[tokio::test]
async fn conditional_write_is_not_retried_after_a_lost_answer() {
    let scene = Scene::new(|call| match &*call.operation {
        "PutItem" | "DeleteItem" => Act::LoseAnswer,
        _ => Act::Forward,
    })
    .await;
    let lost = |error: CacheError| assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    lost(
        scene
            .client
            .set_if_absent("key", "1".into(), TEN_MINUTES)
            .await
            .unwrap_err(),
    );
    lost(
        scene
            .client
            .compare_and_set("key", b"1", "2".into(), TEN_MINUTES)
            .await
            .unwrap_err(),
    );
    assert_eq!(scene.beside.get("key").await.unwrap(), "2");
    lost(scene.client.compare_and_delete("key", b"2").await.unwrap_err());
    assert_eq!(
        (scene.double.count("PutItem"), scene.double.count("DeleteItem")),
        (2, 1)
    );
    assert!(matches!(scene.beside.get("key").await, Err(CacheError::Miss)));
}

#[tokio::test]
async fn idempotent_call_is_retried_after_a_lost_answer() {
    let scene = Scene::new(|call| match call.number {
        0 if call.operation != "DescribeTable" => Act::LoseAnswer,
        _ => Act::Forward,
    })
    .await;
    let client = &scene.client;
    client.set("key", "value".into(), TEN_MINUTES).await.unwrap();
    client
        .set_many(&[("other", "value".into())], TEN_MINUTES)
        .await
        .unwrap();
    assert_eq!(client.get("key").await.unwrap(), "value");
    assert_eq!(client.exists(&["key", "other"]).await.unwrap(), 2);
    assert!(client.expire("key", Ttl::Forever).await.unwrap());
    // The first try deleted it, as the contract says.
    assert_eq!(client.del(&["key"]).await.unwrap(), 0);
    for operation in [
        "PutItem",
        "BatchWriteItem",
        "GetItem",
        "BatchGetItem",
        "UpdateItem",
        "DeleteItem",
    ] {
        assert_eq!(scene.double.count(operation), 2, "{operation}");
    }
}

#[tokio::test]
async fn hanging_connection_leaves_time_for_a_retry() {
    let scene = Scene::new(first("GetItem", 1, || Act::Hang)).await;
    scene
        .client
        .set("key", "value".into(), TEN_MINUTES)
        .await
        .unwrap();
    assert_eq!(scene.client.get("key").await.unwrap(), "value");
}

#[tokio::test]
async fn calls_end_by_their_deadline_if_the_service_hangs() {
    let options = DynamoDbOptions::default()
        .with_read_timeout(Duration::from_millis(300))
        .with_write_timeout(Duration::from_millis(500));
    let hangs = |call: &Call| match &*call.operation {
        "DescribeTable" | "DescribeTimeToLive" => Act::Forward,
        _ => Act::Hang,
    };
    let scene = Scene::with(options, hangs).await;
    let client = &scene.client;
    let ended = |error: CacheError, began: clock::Instant| {
        let took = clock::now() - began;
        assert!(matches!(error, CacheError::Timeout { .. }), "{error}");
        assert!(took < Duration::from_secs(3), "{took:?}");
    };
    let began = clock::now;
    let now = began();
    ended(client.get("key").await.unwrap_err(), now);
    let now = began();
    ended(client.get_many(&["key", "other"]).await.unwrap_err(), now);
    let now = began();
    ended(client.set("key", "1".into(), TEN_MINUTES).await.unwrap_err(), now);
    let now = began();
    ended(client.del(&["key", "other"]).await.unwrap_err(), now);
    let now = began();
    let error = client.incr("count").await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    ended(error, now);
    assert_eq!(scene.double.count("UpdateItem"), 1);
}

#[tokio::test]
async fn close_ends_calls_that_hang() {
    let options = DynamoDbOptions::default().with_read_timeout(Duration::from_secs(600));
    let scene = Scene::with(options, first("GetItem", usize::MAX, || Act::Hang)).await;
    let asked = async {
        while scene.double.count("GetItem") == 0 {
            tokio::task::yield_now().await;
        }
        scene.client.close().await.unwrap();
    };
    let (ended, ()) = tokio::join!(scene.client.get("key"), asked);
    assert!(matches!(ended, Err(CacheError::Closed)), "{ended:?}");
}

#[tokio::test]
async fn unprocessed_batch_items_are_sent_again() {
    let scene = Scene::new(|call| match &*call.operation {
        "BatchWriteItem" | "BatchGetItem" if call.number % 3 != 2 => Act::Half,
        _ => Act::Forward,
    })
    .await;
    let keys: Vec<String> = (0..130).map(|number| format!("key:{number}")).collect();
    let entries: Vec<(&str, Bytes)> = keys.iter().map(|key| (&**key, key.clone().into())).collect();
    scene.client.set_many(&entries, TEN_MINUTES).await.unwrap();
    let keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
    let read = scene.client.get_many(&keys).await.unwrap();
    for (key, value) in keys.iter().zip(read) {
        assert_eq!(value.as_deref(), Some(key.as_bytes()));
    }
    assert!(scene.client.stats().unprocessed > 0);
    for body in scene.double.bodies("BatchWriteItem") {
        assert!(body["RequestItems"][TABLE].as_array().unwrap().len() <= 25);
    }
    for body in scene.double.bodies("BatchGetItem") {
        assert!(body["RequestItems"][TABLE]["Keys"].as_array().unwrap().len() <= 100);
    }
}

#[tokio::test]
async fn unprocessed_batch_ends_by_the_deadline() {
    let options = DynamoDbOptions::default()
        .with_read_timeout(Duration::from_millis(400))
        .with_write_timeout(Duration::from_millis(400));
    let scene = Scene::with(options, |call| match &*call.operation {
        "BatchWriteItem" | "BatchGetItem" => Act::None,
        _ => Act::Forward,
    })
    .await;
    let entries = [("key", "1".into()), ("other", "2".into())];
    let error = scene.client.set_many(&entries, TEN_MINUTES).await.unwrap_err();
    assert!(
        error.is_transient() && error.outcome() == Outcome::Unknown,
        "{error}"
    );
    assert!(error.to_string().contains("2 keys"), "{error}");
    let error = scene.client.get_many(&["key"]).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(scene.double.count("BatchWriteItem") < 20, "it rests in between");
}

#[tokio::test]
async fn oversized_value_in_a_batch_sends_nothing() {
    let scene = Scene::new(|_| Act::Forward).await;
    let large = Bytes::from(vec![0; DynamoClient::MAX_VALUE_LEN + 1]);
    let entries = [("key", "1".into()), ("large", large), ("other", "2".into())];
    let error = scene.client.set_many(&entries, TEN_MINUTES).await.unwrap_err();
    assert!(
        matches!(
            error,
            CacheError::InvalidInput {
                argument: "value",
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(scene.double.count("BatchWriteItem"), 0);
}

#[tokio::test]
async fn reads_are_strongly_consistent_unless_asked_otherwise() {
    for (consistency, strong) in [(Consistency::Strong, true), (Consistency::Eventual, false)] {
        let options = DynamoDbOptions::default().with_consistency(consistency);
        let scene = Scene::with(options, |_| Act::Forward).await;
        let client = &scene.client;
        client.set("key", "1".into(), TEN_MINUTES).await.unwrap();
        client.get("key").await.unwrap();
        client.get_many(&["key"]).await.unwrap();
        assert_eq!(scene.double.bodies("GetItem")[0]["ConsistentRead"], strong);
        let batch = &scene.double.bodies("BatchGetItem")[0]["RequestItems"][TABLE];
        assert_eq!(batch["ConsistentRead"], strong);
        // These are asked to decide something.
        client.ttl("key").await.unwrap();
        client.exists(&["key"]).await.unwrap();
        assert_eq!(scene.double.bodies("GetItem")[1]["ConsistentRead"], true);
        let batch = &scene.double.bodies("BatchGetItem")[1]["RequestItems"][TABLE];
        assert_eq!(batch["ConsistentRead"], true);
    }
}

#[tokio::test]
async fn failed_condition_without_item_is_looked_up() {
    // As DynamoDB answered before it could send the item along.
    let scene = Scene::new(first("UpdateItem", 1, || {
        Act::error(
            400,
            "ConditionalCheckFailedException",
            "The conditional request failed",
        )
    }))
    .await;
    scene.beside.set("text", "abc".into(), TEN_MINUTES).await.unwrap();
    let error = scene.client.incr("text").await.unwrap_err();
    assert!(matches!(error, CacheError::Rejected { .. }), "{error}");
}

#[tokio::test]
async fn refusals_say_what_to_do_and_show_no_secret() {
    let said = "The Canonical String should have been x-amz-security-token:s3cr3t-session";
    type IsExpected = fn(&CacheError) -> bool;
    let cases: [(&str, &str, IsExpected, &str); 4] = [
        (
            "UnrecognizedClientException",
            "The security token is invalid",
            |error| matches!(error, CacheError::Unauthorized { .. }),
            "access key",
        ),
        (
            "InvalidSignatureException",
            said,
            |error| matches!(error, CacheError::Unauthorized { .. }),
            "clock",
        ),
        (
            "AccessDeniedException",
            "User: arn:aws:iam::1:user/x is not authorized to perform: dynamodb:GetItem",
            |error| matches!(error, CacheError::Denied { .. }),
            "dynamodb:GetItem",
        ),
        (
            "ResourceNotFoundException",
            "Requested resource not found",
            |error| matches!(error, CacheError::Config(_)),
            "cachectl dynamodb create-table --table cache",
        ),
    ];
    for (code, message, is_right, hint) in cases {
        let scene = Scene::new(move |call| match &*call.operation {
            "GetItem" => Act::error(400, code, message),
            _ => Act::Forward,
        })
        .await;
        let error = scene.client.get("key").await.unwrap_err();
        assert!(is_right(&error), "{code}: {error}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(hint), "{code}: {text}");
        assert!(!text.contains("s3cr3t"), "{code}: {text}");
        assert_eq!(scene.double.count("GetItem"), 1, "{code} does not pass by itself");
    }
}

#[tokio::test]
async fn unreachable_service_is_unavailable_and_not_applied() {
    static DOWN: AtomicBool = AtomicBool::new(false);
    let emulator = Emulator::start().await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    DOWN.store(true, Ordering::Relaxed);
    let client = DynamoClient::builder(&aws(&url).await, TABLE)
        .startup(cache_core::config::Startup::Degrade)
        .connect()
        .await
        .unwrap();
    let error = client.incr("count").await.unwrap_err();
    assert!(
        error.is_transient() && error.outcome() == Outcome::NotApplied,
        "{error}"
    );
    drop(emulator);
}

#[tokio::test]
async fn failed_batch_fails_only_its_keys() {
    let denied = || Act::error(400, "AccessDeniedException", "no");
    let scene = Scene::new(move |call| match &*call.operation {
        "BatchWriteItem" | "BatchGetItem" if call.number == 0 => denied(),
        _ => Act::Forward,
    })
    .await;
    let names: Vec<String> = (0..130).map(|number| format!("each:{number}")).collect();
    let entries: Vec<(&str, Bytes, Ttl)> = names[..30]
        .iter()
        .map(|name| (name.as_str(), Bytes::from(name.clone()), TEN_MINUTES))
        .collect();
    let stored = scene.client.set_each(&entries).await;
    let failed = stored.iter().filter(|result| result.is_err()).count();
    assert!(
        failed == 25 || failed == 5,
        "one of two batches, not {failed} keys"
    );
    for ((name, ..), result) in entries.iter().zip(&stored) {
        assert_eq!(scene.beside.get(name).await.is_ok(), result.is_ok(), "{name}");
    }
    let mut keys: Vec<&str> = names.iter().map(String::as_str).collect();
    keys.push("");
    let read = scene.client.get_each(&keys).await;
    let denied = read
        .iter()
        .filter(|result| matches!(result, Err(CacheError::Denied { .. })));
    let denied = denied.count();
    assert!(
        denied == 100 || denied == 30,
        "one of two batches, not {denied} keys"
    );
    assert!(matches!(read.last(), Some(Err(CacheError::InvalidInput { .. }))));
}

#[tokio::test]
async fn batch_keeps_read_values_when_the_rest_is_late() {
    let options = DynamoDbOptions::default().with_read_timeout(Duration::from_millis(600));
    let scene = Scene::with(options, |call| match (&*call.operation, call.number) {
        ("BatchGetItem", 0) => Act::Half,
        ("BatchGetItem", _) => Act::Hang,
        _ => Act::Forward,
    })
    .await;
    let names: Vec<String> = (0..40).map(|number| format!("late:{number}")).collect();
    for name in &names {
        scene.beside.set(name, "value".into(), TEN_MINUTES).await.unwrap();
    }
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    let began = clock::now();
    let read = scene.client.get_each(&keys).await;
    assert!(clock::now() - began < Duration::from_secs(3));
    let there = read.iter().filter(|result| result.is_ok()).count();
    let late = read
        .iter()
        .filter(|result| matches!(result, Err(CacheError::Timeout { .. })))
        .count();
    assert_eq!((there, late), (20, 20));
}

#[tokio::test]
async fn only_get_and_expire_is_retried() {
    let lose_first = |operation: &'static str| first(operation, 1, || Act::LoseAnswer);
    let scene = Scene::new(lose_first("DeleteItem")).await;
    scene.client.set("key", "1".into(), TEN_MINUTES).await.unwrap();
    let error = scene.client.get_and_delete("key").await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert_eq!(scene.double.count("DeleteItem"), 1);
    assert!(scene.client.get_and_delete("key").await.unwrap_err().is_miss());

    let scene = Scene::new(lose_first("UpdateItem")).await;
    scene.client.set("key", "1".into(), TEN_MINUTES).await.unwrap();
    assert_eq!(
        scene.client.get_and_expire("key", Ttl::Forever).await.unwrap(),
        "1"
    );
    assert_eq!(scene.double.count("UpdateItem"), 2);
    assert!(scene.beside.ttl("key").await.unwrap().is_forever());
}
