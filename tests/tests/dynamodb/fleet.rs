//! Scenarios 46 to 53 with processes on one table: one load for all of them. DynamoDB reports no changes, so who waits
//! for another process looks again by itself.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cache_core::{CacheClient as _, CacheClientExt as _, Ttl, clock};
use tests::fleet::{Order, Setup, monotonic_ns};
use tests::{Proxy, until};

use crate::lateness::Lateness;
use crate::table::{TABLE, Table};
use crate::worker::{LIMIT, Worker, ask, ask_all, key, loads, only_value, setup as common, until_loading};

/// How often who waits looks again, at the latest.
const LOOK: Duration = Duration::from_millis(250);

async fn setup(url: &str) -> Result<Setup> {
    Ok(Setup {
        table: Some(TABLE.to_owned()),
        ..common(vec![url.to_owned()], false).await?
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_load_a_cold_key_once_and_the_other_has_it_at_its_next_look() -> Result<()> {
    const TASKS: usize = 50;
    let table = Table::start().await?;
    let mut fleet = Worker::fleet::<2>(&setup(&table.url).await?).await?;
    let lateness = Lateness::measure()?;
    let mut delays = Vec::new();
    for run in 0..5 {
        let key = key();
        let reports = ask_all(&mut fleet, &ask(&key, TASKS, 300)).await?;
        assert_eq!(loads(&key).await?, 1, "loads in run {run}");
        let origin = only_value(&reports)?;
        let served: usize = reports.iter().flat_map(|report| report.values.values()).sum();
        assert_eq!(served, 2 * TASKS, "tasks served in run {run}");
        let other = reports.get(1 - origin.worker).context("no other process")?;
        delays.push(Duration::from_nanos(
            other.first_ns.saturating_sub(origin.done_ns),
        ));
    }
    delays.sort_unstable();
    println!(
        "the other process has the value after {:?} (median; worst {:?}); slack of the machine {:?}",
        delays[2],
        delays[4],
        lateness.slack()
    );
    // The value is written, then looked for, each by one request to an emulator that is not optimised.
    let limit = LOOK + Duration::from_millis(200) + lateness.slack();
    assert!(delays[2] <= limit, "{delays:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_holder_is_killed_and_the_other_recovers_within_the_lease_by_one_more_load() -> Result<()> {
    const LOAD: u64 = 200;
    let table = Table::start().await?;
    let setup = setup(&table.url).await?;
    let [mut victim, mut other] = Worker::fleet::<2>(&setup).await?;
    let key = key();
    victim.order(&ask(&key, 50, 600_000)).await?;
    until_loading(&key).await?;
    other.order(&ask(&key, 50, LOAD)).await?;
    let lateness = Lateness::measure()?;
    let killed_ns = monotonic_ns();
    victim.kill().await?;
    let report = other.report().await?;
    let origin = only_value([&report])?;
    assert_eq!(origin.worker, 1);
    assert_eq!(loads(&key).await?, 2, "one more load");
    let began = Duration::from_nanos(origin.done_ns - killed_ns).saturating_sub(Duration::from_millis(LOAD));
    println!(
        "the next load begins {began:?} after the kill; lease {} ms",
        setup.lease
    );
    let limit = Duration::from_millis(setup.lease + 200) + LOOK + lateness.slack();
    assert!(began <= limit, "{began:?} of {limit:?}");
    Ok(())
}

/// `newer_load`: how long the newer load takes; with 0 ms its value is there when the first holder comes back,
/// else it is still being loaded.
async fn stalled(newer_load: u64) -> Result<()> {
    let table = Table::start().await?;
    let setup = Setup {
        lease: 500,
        ..setup(&table.url).await?
    };
    let [mut stalled, mut other] = Worker::fleet::<2>(&setup).await?;
    let key = key();
    stalled.order(&ask(&key, 10, 200)).await?;
    until_loading(&key).await?;
    stalled.stop()?;
    other.order(&ask(&key, 10, newer_load)).await?;
    until(LIMIT, "a second load", || async {
        Ok((loads(&key).await? == 2).then_some(()))
    })
    .await?;
    let (late, newer) = if newer_load == 0 {
        let newer = other.report().await?;
        stalled.go_on()?;
        (stalled.report().await?, newer)
    } else {
        stalled.go_on()?;
        (stalled.report().await?, other.report().await?)
    };
    assert_eq!(
        only_value([&late])?.worker,
        0,
        "its own callers get what it loaded"
    );
    assert_eq!(only_value([&newer])?.worker, 1);
    assert_eq!((late.superseded, newer.superseded), (1, 0), "{late:?} {newer:?}");
    let read = ask_all(&mut [stalled, other], &ask(&key, 10, 0)).await?;
    assert_eq!(only_value(&read)?.worker, 1, "the newer value is in the cache");
    assert_eq!(loads(&key).await?, 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_stood_still_beyond_its_lease_does_not_overwrite_a_newer_value() -> Result<()> {
    stalled(0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_stood_still_does_not_overtake_the_load_that_took_its_lease() -> Result<()> {
    stalled(2_000).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_that_always_fails_is_tried_once_per_hold_by_both_processes() -> Result<()> {
    const HOLD: u64 = 1_000;
    let table = Table::start().await?;
    let setup = Setup {
        failure_hold: HOLD,
        ..setup(&table.url).await?
    };
    let mut fleet = Worker::fleet::<2>(&setup).await?;
    let key = key();
    let order = Order {
        fails: true,
        ..ask(&key, 10, 20)
    };
    let begun = clock::now();
    while begun.elapsed() < Duration::from_secs(6) {
        for report in ask_all(&mut fleet, &order).await? {
            ensure!(report.values.is_empty(), "{report:?}");
            let is_known = |kind: &String| ["Load", "HeldBack"].contains(&kind.as_str());
            ensure!(report.errors.keys().all(is_known), "{report:?}");
        }
    }
    let tries = loads(&key).await?;
    let most = begun.elapsed().as_millis() / u128::from(HOLD) + 1;
    assert!(u128::from(tries) <= most, "{tries} tries, {most} at most");
    assert!(tries >= 3, "a hold ends: {tries} tries");
    Ok(())
}

/// A process whose way to the table can be broken, and one beside it.
struct Pair {
    table: Table,
    proxy: Proxy,
    behind: Worker,
    beside: Worker,
}

impl Pair {
    async fn start(change: impl FnOnce(&mut Setup)) -> Result<Self> {
        let table = Table::start().await?;
        let proxy = Proxy::start(table.url.trim_start_matches("http://")).await?;
        let mut setup = setup(&table.url).await?;
        change(&mut setup);
        let behind = Setup {
            addresses: vec![format!("http://{}", proxy.address())],
            ..setup.clone()
        };
        Ok(Self {
            behind: Worker::start(&behind).await?,
            beside: Worker::start(&Setup { worker: 1, ..setup }).await?,
            table,
            proxy,
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_table_out_of_reach_a_process_loads_and_answers_without_the_lease() -> Result<()> {
    let mut pair = Pair::start(|setup| setup.cache_deadline = 500).await?;
    pair.behind.ask(&ask(&key(), 1, 0)).await?;
    pair.proxy.refuse().await;
    pair.proxy.cut();
    let lateness = Lateness::measure()?;
    let key = key();
    let report = pair.behind.ask(&ask(&key, 50, 100)).await?;
    only_value([&report])?;
    assert_eq!(report.without_lease, 1, "{report:?}");
    let took = Duration::from_nanos(report.last_ns - report.asked_ns);
    let limit = Duration::from_millis(500 + 300) + lateness.slack();
    assert!(took <= limit, "{took:?} of {limit:?}");
    assert_eq!(loads(&key).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_table_costs_a_call_no_more_than_the_caches_deadline() -> Result<()> {
    const DEADLINE: u64 = 500;
    let mut pair = Pair::start(|setup| setup.cache_deadline = DEADLINE).await?;
    pair.behind.ask(&ask(&key(), 1, 0)).await?;
    pair.proxy.pause();
    let lateness = Lateness::measure()?;
    let key = key();
    // Long enough that the last of the callers joins it: fifty requests to AWS are not sent at the same moment.
    const LOAD: u64 = 500;
    let report = pair.behind.ask(&ask(&key, 50, LOAD)).await?;
    only_value([&report])?;
    let took = Duration::from_nanos(report.last_ns - report.asked_ns);
    let limit = Duration::from_millis(DEADLINE + LOAD + 300) + lateness.slack();
    assert!(took <= limit, "{took:?} of {limit:?}");
    assert_eq!(loads(&key).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_whose_answer_is_lost_is_found_to_be_ours_by_asking_whose_it_is() -> Result<()> {
    let mut pair = Pair::start(|setup| {
        setup.cache_deadline = 15_000;
        setup.lease = 20_000;
    })
    .await?;
    let client = pair.table.client().await?;
    let key = key();
    let lease = format!("{key}:#lease");
    pair.behind.ask(&ask(&self::key(), 1, 0)).await?;
    // Each answer is on its way for so long that there is time to lose it.
    pair.proxy.delay(Duration::from_millis(500));
    pair.behind.order(&ask(&key, 50, 500)).await?;
    let taken = until(LIMIT, "the lease to be taken", || async {
        Ok(client.find_string(&lease).await?)
    })
    .await?;
    assert!(pair.proxy.cut() > 0, "a connection with the answer on its way");
    pair.proxy.delay(Duration::ZERO);
    // It goes on under the very lease that it took, and the other one waits for it.
    until_loading(&key).await?;
    assert_eq!(client.find_string(&lease).await?, Some(taken));
    let beside = pair.beside.ask(&ask(&key, 50, 0)).await?;
    let behind = pair.behind.report().await?;
    assert_eq!(only_value([&behind, &beside])?.worker, 0);
    assert_eq!(
        (behind.without_lease, beside.loads),
        (0, 0),
        "{behind:?} {beside:?}"
    );
    assert_eq!(loads(&key).await?, 1);
    until(LIMIT, "the lease to be given back", || async {
        Ok(client.find(&lease).await?.is_none().then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_went_to_somebody_else_is_not_given_back_by_who_had_it() -> Result<()> {
    let mut pair = Pair::start(|_| {}).await?;
    let client = pair.table.client().await?;
    let key = key();
    let lease = format!("{key}:#lease");
    pair.behind.order(&ask(&key, 1, 800)).await?;
    until_loading(&key).await?;
    let other = "1 loading of somebody else";
    client.set(&lease, other.into(), Ttl::secs(60)).await?;
    let report = pair.behind.report().await?;
    assert_eq!(only_value([&report])?.worker, 0, "its callers are served");
    assert_eq!(client.find_string(&lease).await?.as_deref(), Some(other));
    client.del(&[&lease]).await?;
    // Whoever it was has not begun to load: the value is there for them.
    assert_eq!(only_value([&pair.beside.ask(&ask(&key, 1, 0)).await?])?.worker, 0);
    assert_eq!(loads(&key).await?, 1);
    Ok(())
}
