//! Locks, rate limits, idempotency, generations and read-throughs on one table, by several clients at once: the same as
//! on servers of the Redis protocol.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use cache_core::{CacheClient, CacheClientExt as _, Keyspace, Ttl};
use cache_layers::idempotency::{Acquired, Fingerprint};
use cache_layers::lock::Loss;
use cache_layers::rate_limiter::OnError;
use cache_layers::read_through::Coordination;
use cache_layers::{
    Fence, Generations, GenerationsConfig, Idempotency, IdempotencyConfig, Loaded, Lock, LockConfig,
    LockError, Quota, RateLimiter, RateLimiterConfig, ReadThrough, ReadThroughConfig,
};
use futures::future::try_join_all;

use crate::table::{PATIENCE, Table};

/// How many tasks are at it at once.
const TASKS: usize = 40;
const CLIENTS: usize = 4;
const WAIT: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Clients that share nothing but the table, as of several processes.
async fn clients(table: &Table) -> Result<Vec<Arc<dyn CacheClient>>> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Arc::new(table.client().await?) as Arc<dyn CacheClient>);
    }
    Ok(clients)
}

/// What must be changed by one at a time, and by numbers that grow.
#[derive(Debug, Default)]
struct Resource {
    busy: AtomicBool,
    highest: AtomicU64,
    changes: AtomicU64,
}

impl Resource {
    async fn change(&self, fence: Fence) -> Result<()> {
        ensure!(!self.busy.swap(true, Ordering::SeqCst), "two at once");
        let before = self.highest.swap(fence.get(), Ordering::SeqCst);
        ensure!(before < fence.get(), "{before} then {fence}");
        tokio::task::yield_now().await;
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.busy.store(false, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_has_one_holder_at_a_time_and_its_numbers_grow() -> Result<()> {
    let table = Table::start().await?;
    let clients = clients(&table).await?;
    // The emulator is not optimised, and the machine is shared.
    let config = LockConfig::builder().lease(Duration::from_secs(60)).build()?;
    let locks: Vec<_> = clients
        .iter()
        .map(|client| Lock::new(Arc::clone(client), config.clone()))
        .collect();
    let resource = Arc::<Resource>::default();
    let tasks = (0..TASKS / 2).map(|number| {
        let (lock, resource) = (locks[number % CLIENTS].clone(), Arc::clone(&resource));
        tokio::spawn(async move {
            let change = |fence| async move { resource.change(fence).await };
            lock.run("{lock}", WAIT, change).await?
        })
    });
    for task in try_join_all(tasks).await? {
        task?;
    }
    assert_eq!(resource.changes.load(Ordering::SeqCst), (TASKS / 2) as u64);
    assert_eq!(clients[0].find("{lock}:#lock").await?, None, "given back");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_lock_cancels_the_work() -> Result<()> {
    const LEASE: Duration = Duration::from_secs(3);
    let table = Table::start().await?;
    let clients = clients(&table).await?;
    let lock = Lock::new(
        Arc::clone(&clients[0]),
        LockConfig::builder().lease(LEASE).build()?,
    );
    let (lost, deleted) = tokio::join!(
        lock.run("{deleted}", WAIT, |_| std::future::pending::<()>()),
        async {
            tests::until(WAIT, "the lock to be taken", || async {
                let value = clients[1].find_string("{deleted}:#lock").await?;
                Ok(value.filter(|value| value.split(' ').count() == 3))
            })
            .await?;
            anyhow::Ok(clients[1].del(&["{deleted}:#lock"]).await?)
        }
    );
    assert_eq!(deleted?, 1);
    assert!(matches!(lost, Err(LockError::Lost(Loss::Gone))), "{lost:?}");
    Ok(())
}

fn limiter(client: &Arc<dyn CacheClient>) -> Result<RateLimiter> {
    let config = RateLimiterConfig::builder()
        .on_error(OnError::Fail)
        .deadline(PATIENCE)
        .build()?;
    Ok(RateLimiter::new(Arc::clone(client), config))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_of_four_clients_get_exactly_the_limit() -> Result<()> {
    const LIMIT: u32 = 50;
    let table = Table::start().await?;
    let limiters: Vec<_> = clients(&table)
        .await?
        .iter()
        .map(limiter)
        .collect::<Result<_>>()?;
    // Windows whose edge nobody meets; those before have not been used.
    for quota in [
        Quota::fixed(LIMIT.into(), DAY * 300),
        Quota::sliding(LIMIT.into(), DAY * 301),
    ] {
        let tasks = (0..TASKS).map(|number| {
            let limiter = limiters[number % CLIENTS].clone();
            tokio::spawn(async move {
                let mut allowed = 0;
                for _ in 0..3 {
                    allowed += u32::from(limiter.check("subject", &quota).await?.allowed);
                }
                anyhow::Ok(allowed)
            })
        });
        let mut allowed = 0;
        for task in try_join_all(tasks).await? {
            allowed += task?;
        }
        assert_eq!(allowed, LIMIT, "{quota:?}");
    }
    Ok(())
}

/// The limiter asks what is left of the life of a key that all share. On DynamoDB each client answers that by its own
/// clock, which it corrects by the service's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_limiters_on_machines_with_wrong_clocks_agree_about_the_window() -> Result<()> {
    let table = Table::start().await?;
    let mut ends = Vec::new();
    let hour = Duration::from_secs(3_600);
    let clocks: [fn(Duration) -> Duration; 3] = [
        |time| time,
        |time| time + Duration::from_secs(3_600),
        |time| time - Duration::from_secs(5_400),
    ];
    let quota = Quota::fixed(100, DAY);
    for (used, clock) in (1..).zip(clocks) {
        let wall = move || clock(UNIX_EPOCH.elapsed().unwrap_or_default());
        let client = table.builder().wall_clock(wall).connect().await?;
        // An answer tells it the time.
        client.ping().await?;
        let client: Arc<dyn CacheClient> = Arc::new(client);
        let decision = limiter(&client)?.check("subject", &quota).await?;
        assert_eq!(decision.remaining, 100 - used, "the same window");
        ends.push(UNIX_EPOCH.elapsed()? + decision.reset_after);
    }
    let apart = ends[0].abs_diff(ends[1]).max(ends[0].abs_diff(ends[2]));
    println!("the ends of the window are {apart:?} apart");
    assert!(apart < Duration::from_millis(2_500) && apart < hour, "{apart:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_of_a_generation_at_once_are_as_many_generations() -> Result<()> {
    let table = Table::start().await?;
    let clients = clients(&table).await?;
    let all: Vec<_> = clients
        .iter()
        .map(|client| Generations::new(Arc::clone(client), GenerationsConfig::default()))
        .collect();
    let namespace = Keyspace::new("steps")?;
    let first = all[0].current(&namespace).await?;
    let old = first.keys().key(["plan"]);
    clients[0].set(&old, "old".into(), Ttl::secs(60)).await?;
    let steps = (0..TASKS).map(|number| all[number % CLIENTS].bump(&namespace));
    let numbers: BTreeSet<_> = try_join_all(steps)
        .await?
        .into_iter()
        .map(|generation| generation.number())
        .collect();
    let expected: BTreeSet<_> = (first.number() + 1..=first.number() + TASKS as u64).collect();
    assert_eq!(numbers, expected);
    let newest = *numbers.last().context("no step")?;
    for process in &all {
        tests::until(WAIT, "the steps to be noticed", || async {
            Ok((process.current(&namespace).await?.number() == newest).then_some(()))
        })
        .await?;
        let now = process.current(&namespace).await?.keys().key(["plan"]);
        assert_eq!(clients[1].find(&now).await?, None, "another generation");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_first_requests_at_once_one_runs_and_the_others_are_answered_by_it() -> Result<()> {
    let table = Table::start().await?;
    let keyspace = Keyspace::new("orders")?;
    let config = IdempotencyConfig::builder()
        .cache_deadline(PATIENCE)
        .claim_life(PATIENCE * 3)
        .build()?;
    let processes: Vec<_> = clients(&table)
        .await?
        .into_iter()
        .map(|client| Idempotency::new(client, keyspace.clone(), config.clone()))
        .collect();
    let fingerprint = || Fingerprint::of(["POST", "/orders", "tea"]);
    let runs = Arc::new(AtomicU32::new(0));
    let tasks = (0..TASKS).map(|number| {
        let (process, runs) = (processes[number % CLIENTS].clone(), Arc::clone(&runs));
        tokio::spawn(async move {
            match process.acquire("acme", "order", fingerprint()).await? {
                Acquired::Run(claim) => {
                    runs.fetch_add(1, Ordering::SeqCst);
                    claim.complete("made").await?;
                    anyhow::Ok(())
                }
                Acquired::Replay(response) => {
                    ensure!(response == "made", "{response:?}");
                    Ok(())
                }
                Acquired::InProgress { .. } => Ok(()),
                other => anyhow::bail!("{other:?}"),
            }
        })
    });
    for task in try_join_all(tasks).await? {
        task?;
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    let again = processes[1].acquire("acme", "order", fingerprint()).await?;
    assert!(matches!(again, Acquired::Replay(_)), "{again:?}");
    let coffee = Fingerprint::of(["POST", "/orders", "coffee"]);
    let other = processes[2].acquire("acme", "order", coffee).await?;
    assert!(matches!(other, Acquired::Mismatch), "{other:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_through_loads_once_for_all_clients_and_keeps_what_it_loaded() -> Result<()> {
    let table = Table::start().await?;
    let config = ReadThroughConfig::builder()
        .coordination(Coordination::Fleet { lease: PATIENCE })
        .cache_deadline(PATIENCE)
        .build()?;
    let processes: Vec<_> = clients(&table)
        .await?
        .into_iter()
        .map(|client| ReadThrough::new(client, config.clone()))
        .collect();
    let loads = Arc::new(AtomicU32::new(0));
    let tasks = (0..TASKS).map(|number| {
        let (process, loads) = (processes[number % CLIENTS].clone(), Arc::clone(&loads));
        tokio::spawn(async move {
            let load = move || async move {
                loads.fetch_add(1, Ordering::SeqCst);
                Ok::<_, io::Error>(Loaded::new("value"))
            };
            process.get_or_load("key", load).await
        })
    });
    for answer in try_join_all(tasks).await? {
        assert_eq!(answer?.value.as_deref(), Some(&b"value"[..]));
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    Ok(())
}
