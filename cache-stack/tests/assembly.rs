//! A configuration becomes a client that does what the configuration says.

#![expect(clippy::unwrap_used, reason = "a test ends where its preparations fail")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::config::{
    Address, Authentication, EncryptionConfig, KeysetLocation, NearConfig, OnError, Startup, Topology,
    ValkeyConfig,
};
use cache_core::credentials::{Credentials, CredentialsSource, Refusal};
use cache_core::{CacheClient, CacheConfig, CacheError, Secret, Ttl};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const LIMIT: Duration = Duration::from_secs(10);

/// A server that takes connections and never answers.
async fn silent_server() -> (TcpListener, ValkeyConfig) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = ValkeyConfig::new(Topology::single(Address::new("127.0.0.1", port)));
    (listener, config)
}

#[tokio::test]
async fn embedded_client_keeps_the_bounds_of_the_configuration() {
    let loaded = CacheConfig::from_vars([
        ("CACHE_MEMORY_MAX_BYTES".to_owned(), "64KiB".to_owned()),
        ("CACHE_MEMORY_MAX_ENTRIES".to_owned(), "10".to_owned()),
    ]);
    let cache = cache_stack::connect(&loaded.unwrap().config).await.unwrap();
    for number in 0..50 {
        cache
            .set(&format!("key:{number}"), "value".into(), Ttl::Forever)
            .await
            .unwrap();
    }
    let keys: Vec<String> = (0..50).map(|number| format!("key:{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert!((1..=10).contains(&cache.exists(&keys).await.unwrap()));
    let too_large = cache.set("large", vec![0; 128 * 1024].into(), Ttl::Forever).await;
    assert!(matches!(too_large, Err(CacheError::InvalidInput { .. })));
}

#[tokio::test]
async fn unencryptable_client_is_refused_before_connecting() {
    let (listener, valkey) = silent_server().await;
    let config = CacheConfig::builder()
        .valkey(valkey)
        .encryption(EncryptionConfig::new(KeysetLocation::File {
            path: "no/such/keyset.json".into(),
        }))
        .build();
    let error = cache_stack::connect(&config.unwrap()).await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains("no/such/keyset.json"), "{error}");
    let nobody = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(nobody.is_err());
}

#[tokio::test]
async fn missing_server_fails_start_unless_tolerated() {
    let (listener, valkey) = silent_server().await;
    drop(listener);
    let config = CacheConfig::builder()
        .valkey(valkey)
        .op_timeout(Duration::from_millis(200));
    let error = cache_stack::connect(&config.clone().build().unwrap())
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error}");
    let degraded = config.startup(Startup::Degrade).build().unwrap();
    let cache = cache_stack::connect(&degraded).await.unwrap();
    let error = tokio::time::timeout(LIMIT, cache.get("key"))
        .await
        .unwrap()
        .unwrap_err();
    assert!(error.is_transient(), "{error}");
}

/// Greets as a server does, takes what sets a connection up, and never answers a GET.
async fn answer_all_but_get(listener: TcpListener) {
    let greeting = "%3\r\n+proto\r\n:3\r\n+version\r\n+8.1.0\r\n+role\r\n+master\r\n";
    loop {
        let (mut socket, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = socket.read(&mut chunk).await {
                let requests = String::from_utf8_lossy(&chunk[..length]).into_owned();
                for request in requests.split('*').skip(1) {
                    let reply = match request {
                        request if request.contains("HELLO") => greeting,
                        request if request.contains("GET") => continue,
                        _ => "+OK\r\n",
                    };
                    socket.write_all(reply.as_bytes()).await.unwrap();
                }
            }
        });
    }
}

#[tokio::test]
async fn call_deadline_ends_an_unanswered_call() {
    let (listener, valkey) = silent_server().await;
    let server = tokio::spawn(answer_all_but_get(listener));
    let deadline = Duration::from_millis(150);
    let config = CacheConfig::builder()
        .valkey(valkey)
        .op_timeout(deadline)
        .build()
        .unwrap();
    let cache = cache_stack::connect(&config).await.unwrap();
    let error = tokio::time::timeout(LIMIT, cache.get("key"))
        .await
        .unwrap()
        .unwrap_err();
    assert!(
        matches!(error, CacheError::Timeout { after, .. } if after <= deadline),
        "{error}"
    );
    server.abort();
}

#[derive(Debug)]
struct Tokens;

#[async_trait]
impl CredentialsSource for Tokens {
    async fn credentials(&self) -> Result<Option<Credentials>, CacheError> {
        Ok(Some(Credentials::fixed(
            Some("app".to_owned()),
            Secret::from("token-of-today"),
        )))
    }

    fn refused(&self, _credentials: &Credentials) -> Refusal {
        Refusal::fatal()
    }
}

#[tokio::test]
async fn credentials_source_supplies_the_login() {
    let (listener, valkey) = silent_server().await;
    let valkey = valkey.with_dial_timeout(Duration::from_millis(500));
    let config = CacheConfig::builder().valkey(valkey).build().unwrap();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("token-of-today") {
            assert_ne!(socket.read_buf(&mut seen).await.unwrap(), 0);
        }
        String::from_utf8_lossy(&seen).into_owned()
    });
    let client = cache_stack::connect_with(&config, Arc::new(Tokens)).await;
    assert!(client.is_err(), "the server never answers");
    let seen = tokio::time::timeout(LIMIT, server).await.unwrap().unwrap();
    assert!(seen.contains("app"), "{seen}");
}

#[tokio::test]
async fn password_with_credentials_source_is_refused() {
    let (listener, valkey) = silent_server().await;
    let valkey = valkey.with_authentication(Authentication::Password {
        username: None,
        password: Secret::from("s3cr3t"),
    });
    let config = CacheConfig::builder().valkey(valkey).build().unwrap();
    let error = cache_stack::connect_with(&config, Arc::new(Tokens))
        .await
        .unwrap_err();
    let CacheError::Config(error) = error else {
        panic!("{error}")
    };
    assert_eq!(error.problems()[0].variable, "CACHE_PASSWORD");
    assert!(!error.to_string().contains("s3cr3t"));
    let nobody = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(nobody.is_err());
}

#[tokio::test]
async fn prefix_is_added_below_and_removed_above() {
    let config = CacheConfig::builder().key_prefix("shop:").build().unwrap();
    let stack = cache_stack::assemble(&config).await.unwrap();
    let set = stack.client.set("key", "value".into(), Ttl::Forever);
    set.await.unwrap();
    assert_eq!(stack.client.get("key").await.unwrap(), "value");
    let below = stack.foundation.client();
    assert_eq!(below.get("shop:key").await.unwrap(), "value");
    assert!(below.get("key").await.unwrap_err().is_miss());
    assert_eq!(stack.key_prefix(), "shop:");
}

#[tokio::test]
async fn near_cache_answers_the_second_read() {
    let config = CacheConfig::builder()
        .near(NearConfig::new(1 << 20, Duration::from_secs(60)))
        .build()
        .unwrap();
    let stack = cache_stack::assemble(&config).await.unwrap();
    stack.client.set("key", "one".into(), Ttl::Forever).await.unwrap();
    for _ in 0..3 {
        assert_eq!(stack.client.get("key").await.unwrap(), "one");
    }
    let near = stack.near.as_ref().unwrap();
    assert_eq!((near.stats().misses, near.stats().hits), (1, 2));
    // Behind its back: the backend reports it.
    let below = stack.foundation.client();
    below.set("key", "two".into(), Ttl::Forever).await.unwrap();
    assert_eq!(stack.client.get("key").await.unwrap(), "two");
    let outlined = "Observed(Tiered(Observed(Memory(64MiB, 1000000 entries))))";
    assert_eq!(stack.describe(), outlined);
    assert_eq!(cache_stack::describe(&config), outlined);
}

#[tokio::test]
async fn bypass_turns_errors_into_misses_except_ping() {
    let (listener, valkey) = silent_server().await;
    drop(listener);
    let config = CacheConfig::builder()
        .valkey(valkey)
        .startup(Startup::Degrade)
        .on_error(OnError::Bypass)
        .op_timeout(Duration::from_millis(200))
        .build()
        .unwrap();
    let stack = cache_stack::assemble(&config).await.unwrap();
    let cache = &stack.client;
    assert!(cache.get("key").await.unwrap_err().is_miss());
    cache.set("key", "value".into(), Ttl::Forever).await.unwrap();
    assert!(cache.incr("count").await.unwrap_err().is_transient());
    assert!(cache.ping().await.unwrap_err().is_transient());
    assert_eq!(stack.guard.as_ref().unwrap().stats().bypassed, 2);
}
