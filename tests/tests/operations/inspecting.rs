//! One key of a cluster, looked at closely.

use anyhow::{Context as _, Result};
use cache_admin::Inspection;
use cache_core::slot::slot_of;
use cache_core::{CacheConfig, Ttl};
use tests::{Cluster, ClusterOptions};

use super::{stack, valkey};

#[tokio::test]
async fn a_key_is_told_with_its_slot_its_primary_and_its_life() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let stack = stack(&cluster.addresses(), true).await?;
    for number in 0..9 {
        let key = format!("user:{number}");
        stack.client.set(&key, "value".into(), Ttl::secs(60)).await?;
        let found = Inspection::of(&stack, key.as_bytes(), None)
            .await?
            .context("gone")?;
        let slot = slot_of(key.as_bytes());
        assert_eq!(found.slot, Some(slot));
        let owner = cluster.primary_of(slot).await?;
        assert_eq!(
            found.primary.as_deref(),
            Some(cluster.addresses()[owner].as_str())
        );
        assert_eq!(found.kind.as_deref(), Some("string"));
        assert!(
            found.ttl_ms.is_some_and(|left| left > 0 && left <= 60_000),
            "{found:?}"
        );
        assert!(
            found.memory_bytes > Some(0) && found.encoding.is_some(),
            "{found:?}"
        );
        assert_eq!(found.value, None);
    }
    // Names are bytes.
    let raw: &[u8] = b"raw:\xff\x00";
    let home = cluster.node(cluster.primary_of(slot_of(raw)).await?);
    home.call(&[&b"SET"[..], raw, b"\xfe\xfd\xfc"]).await?;
    let found = Inspection::of(&stack, raw, Some(2)).await?.context("gone")?;
    let value = found.value.context("no value")?;
    assert_eq!(
        (value.base64.as_deref(), value.length, value.truncated),
        (Some("/v0="), 3, true)
    );
    assert_eq!(found.forever, Some(true));

    let home = cluster.node(cluster.primary_of(slot_of(b"list")).await?);
    home.call(&["RPUSH", "list", "a"]).await?;
    let found = Inspection::of(&stack, b"list", Some(100))
        .await?
        .context("gone")?;
    assert_eq!((found.kind.as_deref(), found.value), (Some("list"), None));
    assert_eq!(Inspection::of(&stack, b"nobody", Some(100)).await?, None);
    Ok(())
}

#[tokio::test]
async fn the_prefix_of_the_configuration_is_the_caller_s_business() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let config = CacheConfig::builder()
        .valkey(valkey(&cluster.addresses(), true)?)
        .key_prefix("shop:");
    let stack = Box::pin(cache_stack::assemble(&config.build()?)).await?;
    stack.client.set("a", "value".into(), Ttl::Forever).await?;
    assert!(Inspection::of(&stack, b"a", None).await?.is_none());
    assert!(Inspection::of(&stack, b"shop:a", None).await?.is_some());
    Ok(())
}
