//! What is put together is measured: by its place in the stack, with what it stands on.
//!
//! One test, since the provider that is installed is that of the process.

#![cfg(feature = "prometheus")]

use std::time::Duration;

use cache_core::config::{Address, NearConfig, Startup, Topology, ValkeyConfig};
use cache_core::{CacheConfig, Ttl};
use cache_stack::telemetry::Telemetry;

#[tokio::test]
async fn every_built_layer_is_measured() {
    let telemetry = Telemetry::builder().prometheus().install().unwrap();
    let near = NearConfig::new(1 << 20, Duration::from_secs(60));
    let embedded = CacheConfig::builder().near(near).build().unwrap();
    let embedded = cache_stack::assemble(&embedded).await.unwrap();
    // Nobody listens at this port.
    let nobody = ValkeyConfig::new(Topology::single(Address::new("127.0.0.1", 1)));
    let unreachable = CacheConfig::builder().valkey(nobody).startup(Startup::Degrade);
    let unreachable = cache_stack::assemble(&unreachable.build().unwrap())
        .await
        .unwrap();

    embedded
        .client
        .set("key", "value".into(), Ttl::Forever)
        .await
        .unwrap();
    for _ in 0..3 {
        embedded.client.get("key").await.unwrap();
    }
    unreachable.client.get("key").await.unwrap_err();

    let scrape = telemetry.scrape().unwrap();
    for line in [
        r#"cache_operations_total{cache_outcome="hit",cache_tier="edge",db_operation_name="get"} 3"#,
        // The near tier reads an entry once, for all.
        r#"cache_operations_total{cache_outcome="hit",cache_tier="far",db_operation_name="get_entries"} 1"#,
        r#"cache_near_lookups_total{cache_result="hit"} 2"#,
        r#"cache_guard_calls_total 1"#,
        r#"cache_guard_failures_total 1"#,
        r#"cache_guard_state{cache_guard_state="closed"} 1"#,
    ] {
        assert!(
            scrape.lines().any(|found| found == line),
            "no {line} in\n{scrape}"
        );
    }
    let name = "db_client_operation_duration_seconds_count";
    for (tier, operation, system) in [("far", "get_entries", "memory"), ("edge", "get", "valkey")] {
        let labels = [
            format!("cache_tier=\"{tier}\""),
            format!("db_operation_name=\"{operation}\""),
            format!("db_system_name=\"{system}\""),
        ];
        let timed = scrape.lines().find(|line| {
            line.starts_with(name) && line.ends_with(" 1") && labels.iter().all(|label| line.contains(label))
        });
        assert!(timed.is_some(), "no {name} with {labels:?} in\n{scrape}");
    }
}
