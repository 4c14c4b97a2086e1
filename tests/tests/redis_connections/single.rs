//! Connections to one server.

use std::time::Duration;

use anyhow::Result;
use cache_core::{CacheClient, CacheError, Outcome, Stage, Ttl, Unavailability};
use cache_redis::RedisCache;
use tests::{Answer, FakeServer, Proxy, Server, ServerOptions, Version, until};

use crate::{LIMIT, bare, managed};

#[tokio::test]
async fn counter_with_a_ttl_is_exact_over_all_integers() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Redis7)).await?;
    let cache = bare(&server.address()).await?;
    let steps: [(i64, i64); 6] = [
        ((1 << 53) - 1, 2),
        (i64::MAX - 1, 1),
        (i64::MAX, 0),
        (i64::MIN, 0),
        (-(1 << 53) - 1, -2),
        (i64::MAX, i64::MIN),
    ];
    for (count, delta) in steps {
        cache
            .set("count", count.to_string().into(), Ttl::secs(60))
            .await?;
        assert_eq!(
            cache.incr_by("count", delta, Ttl::secs(60)).await?,
            count + delta,
            "{count} and {delta}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn batch_over_a_key_of_another_type_fails_that_key() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    server.call(&["RPUSH", "list", "element"]).await?;
    let cache = bare(&server.address()).await?;
    cache.set("text", "value".into(), Ttl::secs(60)).await?;

    let error = cache.get_many(&["text", "list"]).await.unwrap_err();
    assert!(
        matches!(&error, CacheError::Rejected { code, .. } if code == "WRONGTYPE"),
        "{error}"
    );
    let each = cache.get_each(&["text", "list", "missing", ""]).await;
    assert_eq!(each[0].as_ref().unwrap(), "value");
    assert!(matches!(each[1], Err(CacheError::Rejected { .. })), "{each:?}");
    assert!(matches!(each[2], Err(CacheError::Miss)), "{each:?}");
    assert!(
        matches!(each[3], Err(CacheError::InvalidInput { .. })),
        "{each:?}"
    );
    Ok(())
}

#[tokio::test]
async fn of_entries_of_one_key_the_last_one_that_is_legal_stays() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let cache = bare(&server.address()).await?;
    // More than one pipeline, which may overtake each other.
    let mut entries: Vec<_> = (0..2_000)
        .map(|number| ("twice", number.to_string().into(), Ttl::secs(60)))
        .collect();
    entries.push(("twice", "too late".into(), Ttl::After(Duration::MAX)));
    let results = cache.set_each(&entries).await;
    assert!(results[..2_000].iter().all(Result::is_ok), "{results:?}");
    assert!(matches!(results[2_000], Err(CacheError::InvalidInput { .. })));
    assert_eq!(cache.get("twice").await?, "1999");
    let many: Vec<_> = (0..2_000)
        .map(|number| ("twice", format!("many {number}").into()))
        .collect();
    cache.set_many(&many, Ttl::secs(60)).await?;
    assert_eq!(cache.get("twice").await?, "many 1999");
    Ok(())
}

#[tokio::test]
async fn call_whose_connection_is_lost_may_have_been_carried_out_and_is_not_repeated() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let proxy = Proxy::start(server.address()).await?;
    let cache = managed(&proxy.address()).await?.with_deadline(LIMIT)?;
    assert_eq!(cache.incr("count").await?, 1);

    // Sent, and its reply held back.
    proxy.pause();
    let (counted, cut) = tokio::join!(cache.incr("count"), async {
        tokio::task::yield_now().await;
        until(LIMIT, "the call to be sent", || async {
            Ok((proxy.open() > 0).then_some(()))
        })
        .await?;
        Ok::<_, anyhow::Error>(proxy.cut())
    });
    assert!(cut? > 0);
    let error = counted.unwrap_err();
    assert!(
        matches!(
            error,
            CacheError::Unavailable {
                reason: Unavailability::Lost,
                outcome: Outcome::Unknown,
                ..
            }
        ),
        "{error}"
    );
    proxy.resume();

    // The manager connects again by itself.
    let count = until(LIMIT, "the manager to connect again", || async {
        Ok(cache.get("count").await.ok())
    })
    .await?;
    assert!(count == "1" || count == "2", "counted more than once: {count:?}");
    Ok(())
}

#[tokio::test]
async fn bare_connection_that_is_lost_stays_lost_and_says_so() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let proxy = Proxy::start(server.address()).await?;
    let cache = bare(&proxy.address()).await?;
    cache.ping().await?;
    proxy.cut();
    until(LIMIT, "a call to fail", || async { Ok(cache.ping().await.err()) }).await?;
    for _ in 0..3 {
        let error = cache.get("key").await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert!(
            matches!(
                error,
                CacheError::Unavailable {
                    reason: Unavailability::Lost,
                    ..
                }
            ),
            "{error}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn silent_server_holds_no_call_beyond_its_deadline() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let proxy = Proxy::start(server.address()).await?;
    let deadline = Duration::from_millis(150);
    for cache in [bare(&proxy.address()).await?, managed(&proxy.address()).await?] {
        let cache = cache.with_deadline(deadline)?;
        proxy.resume();
        until(LIMIT, "the server to answer", || async {
            Ok(cache.ping().await.ok())
        })
        .await?;
        proxy.pause();
        let late = |error: &CacheError| {
            assert!(
                matches!(error, CacheError::Timeout { stage: Stage::Call, after } if *after == deadline),
                "{error}"
            );
        };
        late(&cache.get("key").await.unwrap_err());
        late(&cache.incr_by("key", 1, Ttl::secs(1)).await.unwrap_err());
        late(&cache.get_many(&["a", "b"]).await.unwrap_err());
        late(&cache.ping().await.unwrap_err());
        let each = cache.get_each(&["a", ""]).await;
        late(each[0].as_ref().unwrap_err());
        assert!(
            matches!(each[1], Err(CacheError::InvalidInput { .. })),
            "{each:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn refusal_that_passes_is_transient_and_nothing_was_done() -> Result<()> {
    for code in [
        "LOADING",
        "BUSY",
        "MASTERDOWN",
        "CLUSTERDOWN",
        "TRYAGAIN",
        "READONLY",
    ] {
        let fake = FakeServer::start(move |_| Answer::refusal(&format!("{code} not now"))).await?;
        let cache = bare(&fake.address()).await?;
        let single = cache.set("key", "value".into(), Ttl::Forever).await;
        let counted = cache.incr_by("key", 1, Ttl::secs(1)).await;
        for error in [single.unwrap_err(), counted.unwrap_err()] {
            assert!(error.is_transient(), "{error}");
            assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
            assert!(error.to_string().contains(code), "{error}");
        }
        // Of a list other entries may have been stored.
        let entries = [("a", "1".into()), ("b", "2".into())];
        let many = cache.set_many(&entries, Ttl::Forever).await.unwrap_err();
        assert_eq!(many.outcome(), Outcome::Unknown, "{many}");
        assert_eq!(fake.asked(), 4, "a refused call was sent again");
    }
    Ok(())
}

#[tokio::test]
async fn demoted_primary_refuses_writes_and_reads_go_on() -> Result<()> {
    let primary = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let other = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let cache = bare(&primary.address()).await?;
    cache.set("key", "value".into(), Ttl::Forever).await?;
    let (host, port) = (other.host().to_string(), other.port().to_string());
    primary
        .call(&["CONFIG", "SET", "replica-serve-stale-data", "yes"])
        .await?;
    primary.call(&["REPLICAOF", &host, &port]).await?;
    let error = until(LIMIT, "a write to be refused", || async {
        Ok(cache.set("key", "other".into(), Ttl::Forever).await.err())
    })
    .await?;
    assert!(error.to_string().contains("READONLY"), "{error}");
    assert!(error.is_transient(), "{error}");
    // Also inside a script.
    let counted = cache.incr_by("count", 1, Ttl::secs(1)).await.unwrap_err();
    assert!(counted.to_string().contains("READONLY"), "{counted}");
    assert_eq!(counted.outcome(), Outcome::NotApplied, "{counted}");
    cache.exists(&["key"]).await?;
    Ok(())
}

#[tokio::test]
async fn what_users_may_not_do_is_denied_by_name() -> Result<()> {
    let options =
        ServerOptions::new(Version::Valkey8).user("limited on >secret-word ~* +get +ping +client +hello");
    let server = Server::start(options).await?;
    let cache = bare(&format!("limited:secret-word@{}", server.address())).await?;
    assert!(matches!(cache.get("key").await, Err(CacheError::Miss)));
    let error = cache
        .set("key", "hunter2".into(), Ttl::Forever)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, CacheError::Denied { command, .. } if command == "SET"),
        "{error}"
    );
    let shown = format!("{error} {error:?} {cache:?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("secret-word"),
        "{shown}"
    );
    Ok(())
}

#[tokio::test]
async fn close_leaves_the_connection_to_the_service() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let client = redis::Client::open(format!("redis://{}", server.address()))?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let cache = RedisCache::from_connection(connection.clone());
    cache.set("key", "value".into(), Ttl::secs(60)).await?;
    cache.close().await?;
    assert!(matches!(cache.get("key").await, Err(CacheError::Closed)));
    let value: String = redis::cmd("GET").arg("key").query_async(&mut connection).await?;
    assert_eq!(value, "value");
    assert_eq!(format!("{cache:?}"), "RedisCache(connection, closed)");
    assert!(cache.with_deadline(Duration::ZERO).is_err());
    Ok(())
}
