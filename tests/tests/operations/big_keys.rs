//! What takes the memory, by samples of a known size.

use anyhow::{Context as _, Result};
use cache_admin::{BigKeys, BigKeysOptions, Control, Options};
use cache_core::{Pattern, Ttl};
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version};

use super::stack;

const SMALL: usize = 3_000;
const LARGE: usize = 30;

#[tokio::test]
async fn a_sample_of_known_size_estimates_what_kinds_of_keys_take() -> Result<()> {
    let node = ServerOptions::new(Version::Valkey8).line("cluster-require-full-coverage no");
    let cluster = Cluster::start(ClusterOptions::new(3, 0).node(node)).await?;
    let stack = stack(&cluster.addresses(), true).await?;
    let (small, large) = (
        bytes::Bytes::from(vec![b's'; 100]),
        bytes::Bytes::from(vec![b'l'; 50_000]),
    );
    let names = (0..SMALL).map(|number| (format!("user:{number}"), small.clone()));
    let names: Vec<_> = names
        .chain((0..LARGE).map(|number| (format!("cart:{number}"), large.clone())))
        .collect();
    for batch in names.chunks(500) {
        let entries: Vec<_> = batch
            .iter()
            .map(|(key, value)| (key.as_str(), value.clone()))
            .collect();
        stack.client.set_many(&entries, Ttl::secs(600)).await?;
    }

    // All of them, where that is no more than was asked for.
    let all = BigKeys::of(&stack, &BigKeysOptions::default().with_top(LARGE)).await?;
    assert!(all.exact);
    assert_eq!(all.keys, Some((SMALL + LARGE).try_into()?));
    assert_eq!(all.matched, u64::try_from(SMALL + LARGE)?);
    let named = |key: &cache_admin::BigKey| key.key.as_deref().is_some_and(|key| key.starts_with("cart:"));
    assert_eq!(all.largest.iter().filter(|key| named(key)).count(), LARGE);
    assert!(all.largest.iter().all(|key| key.has_ttl && key.kind == "string"));
    let carts = all.by_prefix.first().context("no prefix")?;
    assert_eq!(
        (carts.name.as_str(), carts.estimated_keys),
        ("cart:", u64::try_from(LARGE)?)
    );

    // A third of them, drawn at random on every primary by its share.
    let samples = 1_000;
    let sampled = BigKeys::of(&stack, &BigKeysOptions::default().with_samples(samples)).await?;
    assert!(!sampled.exact);
    assert!(
        sampled.sampled > samples - 3 && sampled.sampled <= samples,
        "{}",
        sampled.sampled
    );
    assert!(
        sampled
            .primaries
            .iter()
            .all(|primary| primary.sampled > samples / 5)
    );
    let users = sampled
        .by_prefix
        .iter()
        .find(|group| group.name == "user:")
        .context("no users")?;
    let (few, many) = (u64::try_from(SMALL)? * 9 / 10, u64::try_from(SMALL)? * 11 / 10);
    assert!(
        users.estimated_keys > few && users.estimated_keys < many,
        "{users:?}"
    );
    assert!(
        users.average_bytes > 100 && users.average_bytes < 300,
        "{users:?}"
    );

    // Only what matches is measured; how many were drawn is told all the same.
    let carts = BigKeysOptions::default()
        .with_samples(samples)
        .with_pattern(Pattern::new("cart:*")?);
    let carts = BigKeys::of(&stack, &carts).await?;
    assert!(
        carts.matched < samples / 10 && carts.sampled > samples - 3,
        "{carts:?}"
    );
    assert!(carts.by_prefix.iter().all(|group| group.name == "cart:"));

    // A primary that is gone is told, and the total is not made up.
    cluster.kill(1)?;
    let partial = BigKeys::of(&stack, &BigKeysOptions::default().with_samples(100)).await?;
    assert_eq!(partial.keys, None);
    let failed = partial.primaries.iter().filter(|primary| primary.error.is_some());
    let failed: Vec<_> = failed.map(|primary| primary.address.as_str()).collect();
    assert_eq!(failed, [cluster.addresses()[1].as_str()]);
    Ok(())
}

#[tokio::test]
async fn a_few_large_keys_among_many_small_ones_are_found_by_default() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let stack = stack(&[server.address()], false).await?;
    let small: Vec<_> = (0..15_000)
        .map(|number| (format!("user:{number}"), bytes::Bytes::from_static(b"s")))
        .collect();
    for batch in small.chunks(1_000) {
        let entries: Vec<_> = batch
            .iter()
            .map(|(key, value)| (key.as_str(), value.clone()))
            .collect();
        stack.client.set_many(&entries, Ttl::secs(600)).await?;
    }
    for number in 0..12 {
        let value = bytes::Bytes::from(vec![b'l'; 20_000 + number]);
        stack
            .client
            .set(&format!("report:{number}"), value, Ttl::Forever)
            .await?;
    }
    let found = BigKeys::of(&stack, &BigKeysOptions::default().with_top(12)).await?;
    let large = |key: &cache_admin::BigKey| key.key.as_deref().is_some_and(|key| key.starts_with("report:"));
    assert!(found.exact && found.matched == 15_012, "{found:?}");
    assert!(
        found.largest.len() == 12 && found.largest.iter().all(large),
        "{found:?}"
    );

    // Stopped, it says so and reports what it had.
    let control = Control::new();
    control.cancel();
    let stopped = BigKeysOptions::default().with_scan(Options::default().with_control(control));
    let stopped = BigKeys::of(&stack, &stopped).await?;
    assert!(
        !stopped.exact && stopped.primaries.iter().all(|primary| primary.error.is_none()),
        "{stopped:?}"
    );
    Ok(())
}
