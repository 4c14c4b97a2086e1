//! Scenario 99: exactly the limit, whoever asks, by the server's clock.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cache_core::{CacheClientExt, clock};
use cache_layers::rate_limiter::OnError;
use cache_layers::{Quota, RateLimiter, RateLimiterConfig, WallClock};
use futures::future::try_join_all;
use tests::{Connection, Kind, shared};

use crate::{TASKS, clients, unique};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn config() -> RateLimiterConfig {
    let config = RateLimiterConfig::builder().on_error(OnError::Fail);
    #[expect(clippy::unwrap_used, reason = "a legal configuration")]
    config.build().unwrap()
}

async fn limiters(kind: Kind) -> Vec<RateLimiter> {
    let clients = clients(kind).await;
    clients
        .into_iter()
        .map(|client| RateLimiter::new(client, config()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_tasks_of_four_clients_get_exactly_the_limit() -> Result<()> {
    for kind in [Kind::Single, Kind::Cluster, Kind::Valkey9, Kind::Redis7] {
        let limiters = limiters(kind).await;
        // Windows whose edge nobody meets; those before have not been used.
        for quota in [Quota::fixed(250, DAY * 300), Quota::sliding(250, DAY * 301)] {
            let subject = unique("limit");
            let tasks = (0..TASKS).map(|number| {
                let (limiter, subject) = (limiters[number % 4].clone(), subject.clone());
                tokio::spawn(async move {
                    let mut allowed = 0;
                    for _ in 0..5 {
                        allowed += u32::from(limiter.check(&subject, &quota).await?.allowed);
                    }
                    anyhow::Ok(allowed)
                })
            });
            let mut allowed = 0;
            for task in try_join_all(tasks).await? {
                allowed += task?;
            }
            assert_eq!(allowed, 250, "{kind:?} {quota:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_window_counts_more_than_the_limit_and_all_that_counts_was_allowed() -> Result<()> {
    const WINDOW: Duration = Duration::from_millis(500);
    const LIMIT: u64 = 40;
    for kind in [Kind::Single, Kind::Cluster] {
        for quota in [Quota::fixed(LIMIT, WINDOW), Quota::sliding(LIMIT, WINDOW)] {
            let limiters = limiters(kind).await;
            // The braces keep the key of a window predictable.
            let subject = unique("{edge}");
            let until = clock::now() + WINDOW * 4;
            let begun = server_time(kind).await?;
            let tasks = (0..TASKS as u64).map(|number| {
                let index = usize::try_from(number % 4).unwrap_or(0);
                let (limiter, subject) = (limiters[index].clone(), subject.clone());
                tokio::spawn(async move {
                    let (mut allowed, cost) = (0, number % 3 + 1);
                    while clock::now() < until {
                        let decision = limiter.check_cost(&subject, &quota, cost).await?;
                        allowed += u64::from(decision.allowed) * cost;
                        tokio::time::sleep(Duration::from_millis(7)).await;
                    }
                    anyhow::Ok(allowed)
                })
            });
            let mut allowed = 0;
            for task in try_join_all(tasks).await? {
                allowed += task?;
            }
            let index = |time: Duration| time.as_millis() / WINDOW.as_millis();
            let (first, last) = (index(begun) - 1, index(server_time(kind).await?) + 1);
            let mut counted = Vec::new();
            for index in first..=last {
                let key = format!("{subject}:#limit:{}:{index}", WINDOW.as_millis());
                if let Some(count) = limiters[0].client().find_string(&key).await? {
                    counted.push(count.parse::<u64>()?);
                }
            }
            println!("{kind:?} {quota:?}: {counted:?}");
            assert!(counted.iter().all(|count| *count <= LIMIT), "{counted:?}");
            assert!(counted.len() >= 4, "{counted:?}");
            assert_eq!(counted.iter().sum::<u64>(), allowed);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_is_the_servers_whatever_the_clients_think() -> Result<()> {
    #[derive(Debug)]
    struct Ahead;
    impl WallClock for Ahead {
        fn since_epoch(&self) -> Duration {
            cache_layers::SystemClock.since_epoch() + DAY / 5
        }
    }
    for kind in [Kind::Single, Kind::Cluster] {
        let clients = clients(kind).await;
        let (clock_key, subject) = (unique("#clock"), unique("subject"));
        let with = |index: usize, clock: Arc<dyn WallClock>| {
            let config = RateLimiterConfig::builder()
                .on_error(OnError::Fail)
                .clock_key(&clock_key)
                .clock(clock);
            anyhow::Ok(RateLimiter::new(Arc::clone(&clients[index]), config.build()?))
        };
        let (right, wrong) = (
            with(0, Arc::new(cache_layers::SystemClock))?,
            with(1, Arc::new(Ahead))?,
        );
        let quota = Quota::fixed(100, DAY);
        let first = right.check(&subject, &quota).await?;
        let time = server_time(kind).await?;
        let second = wrong.check(&subject, &quota).await?;
        assert_eq!((first.remaining, second.remaining), (99, 98));
        let apart = first.reset_after.abs_diff(second.reset_after);
        let left = DAY.as_millis() - time.as_millis() % DAY.as_millis();
        let off = first.reset_after.as_millis().abs_diff(left);
        println!("{kind:?}: the clients are {apart:?} apart, the server {off} ms");
        assert!(apart < Duration::from_millis(500), "{apart:?}");
        assert!(off < 500, "{off} ms");
    }
    Ok(())
}

/// What one of the servers says.
async fn server_time(kind: Kind) -> Result<Duration> {
    let servers = shared(kind).await?;
    let time = Connection::open(&servers.addresses[0])
        .await?
        .call(&["TIME"])
        .await?;
    let seconds = time.items()[0].text().parse()?;
    Ok(Duration::from_secs(seconds) + Duration::from_micros(time.items()[1].text().parse()?))
}
