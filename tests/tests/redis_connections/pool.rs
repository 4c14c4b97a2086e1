//! Pools: none is left, the service closed it, the server is gone.

use std::time::Duration;

use anyhow::Result;
use cache_core::{CacheClient, CacheError, Outcome, Stage, Ttl};
use cache_redis::RedisCache;
use tests::{Server, ServerOptions, Version, until};

use crate::LIMIT;

fn pool(address: &str, size: usize) -> Result<deadpool_redis::Pool> {
    let manager = deadpool_redis::Manager::new(format!("redis://{address}"))?;
    Ok(deadpool_redis::Pool::builder(manager)
        .max_size(size)
        .runtime(deadpool_redis::Runtime::Tokio1)
        .build()?)
}

#[tokio::test]
async fn pool_without_a_free_connection_ends_the_call_and_nothing_was_sent() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let pool = pool(&server.address(), 1)?;
    let held = pool.get().await?;
    let deadline = Duration::from_millis(100);
    let by_client = RedisCache::from_pool(pool.clone()).with_deadline(deadline)?;
    let error = by_client.incr("count").await.unwrap_err();
    assert!(
        matches!(error, CacheError::Timeout { stage: Stage::Connect, after } if after == deadline),
        "{error}"
    );
    assert_eq!(error.outcome(), Outcome::NotApplied);

    let mut waits = pool.timeouts();
    waits.wait = Some(deadline);
    let manager = deadpool_redis::Manager::new(format!("redis://{}", server.address()))?;
    let strict = deadpool_redis::Pool::builder(manager)
        .max_size(1)
        .timeouts(waits)
        .runtime(deadpool_redis::Runtime::Tokio1)
        .build()?;
    let other = strict.get().await?;
    let by_pool = RedisCache::from_pool(strict.clone()).without_deadline();
    let error = by_pool.incr("count").await.unwrap_err();
    assert!(
        matches!(
            error,
            CacheError::Timeout {
                stage: Stage::Connect,
                ..
            }
        ),
        "{error}"
    );

    drop((held, other));
    for cache in [by_client, by_pool] {
        cache.set("key", "value".into(), Ttl::secs(60)).await?;
        // Its connection went back: there is only one.
        assert_eq!(cache.get("key").await?, "value");
    }
    Ok(())
}

#[tokio::test]
async fn call_that_is_dropped_gives_its_connection_back() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let pool = pool(&server.address(), 1)?;
    let cache = RedisCache::from_pool(pool.clone()).with_deadline(LIMIT)?;
    for _ in 0..50 {
        tokio::select! {
            biased;
            _ = cache.get("key") => {}
            () = tokio::task::yield_now() => {}
        }
    }
    cache.set("key", "value".into(), Ttl::secs(60)).await?;
    assert_eq!(pool.status().size, 1);
    Ok(())
}

#[tokio::test]
async fn pool_that_the_service_closed_is_closed() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let pool = pool(&server.address(), 2)?;
    let cache = RedisCache::from_pool(pool.clone());
    cache.ping().await?;
    pool.close();
    assert!(matches!(cache.get("key").await, Err(CacheError::Closed)));
    Ok(())
}

#[tokio::test]
async fn pool_works_again_after_its_server_was_gone() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let cache = RedisCache::from_pool(pool(&server.address(), 2)?);
    cache.ping().await?;
    server.kill()?;
    let error = until(LIMIT, "a call to fail", || async {
        Ok(cache.get("key").await.err().filter(|error| !error.is_miss()))
    })
    .await?;
    assert!(error.is_transient(), "{error}");
    // No connection can be opened, so nothing can have been sent.
    let error = cache.incr("count").await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
    server.restart().await?;
    until(LIMIT, "the pool to work again", || async {
        Ok(cache.ping().await.ok())
    })
    .await?;
    assert_eq!(cache.incr("count").await?, 1);
    Ok(())
}
