//! Scenarios 47 and 48: the process that loads is killed, or stands still for longer than its lease.

use std::time::Duration;

use anyhow::Result;
use tests::fleet::{Setup, monotonic_ns};
use tests::{Kind, until};

use crate::lateness::Lateness;
use crate::worker::{LIMIT, Worker, ask, ask_all, key, loads, on, only_value, until_loading};

/// How long the load takes that takes the place of the killed one, in milliseconds.
const LOAD: u64 = 200;

async fn killed(kind: Kind) -> Result<()> {
    let setup = on(kind).await?;
    let [mut victim, others @ ..] = Worker::fleet::<8>(&setup).await?;
    let mut others: Vec<Worker> = others.into();
    let key = key();
    victim.order(&ask(&key, 250, 600_000)).await?;
    until_loading(&key).await?;
    for other in &mut others {
        other.order(&ask(&key, 250, LOAD)).await?;
    }
    let lateness = Lateness::measure()?;
    let killed_ns = monotonic_ns();
    victim.kill().await?;
    let mut reports = Vec::new();
    for other in &mut others {
        reports.push(other.report().await?);
    }
    let origin = only_value(&reports)?;
    assert_ne!(origin.worker, 0, "the victim's value");
    assert_eq!(loads(&key).await?, 2, "one more load, not one each");
    let began = Duration::from_nanos(origin.done_ns - killed_ns).saturating_sub(Duration::from_millis(LOAD));
    let last_ns = reports
        .iter()
        .map(|report| report.last_ns)
        .max()
        .unwrap_or_default();
    let served = Duration::from_nanos(last_ns - origin.done_ns);
    println!(
        "{kind:?}: the next load begins {began:?} after the kill, all have its value {served:?} after it is done; \
         lease {} ms",
        setup.lease
    );
    // Seven processes that all look again at the same moment, on however few cores.
    let limit = Duration::from_millis(setup.lease + 50) + lateness.slack();
    assert!(began <= limit, "{began:?} of {limit:?}");
    Ok(())
}

#[tokio::test]
async fn the_holder_is_killed_and_the_others_recover_within_the_lease_by_one_more_load() -> Result<()> {
    killed(Kind::Single).await
}

#[tokio::test]
async fn the_holder_is_killed_and_the_others_recover_on_a_cluster_too() -> Result<()> {
    killed(Kind::Cluster).await
}

/// `newer_load`: how long the newer load takes; with 0 ms its value is there when the first holder comes back,
/// else it is still being loaded.
async fn stalled(kind: Kind, newer_load: u64) -> Result<()> {
    let setup = Setup {
        lease: 500,
        ..on(kind).await?
    };
    let [mut stalled, mut other] = Worker::fleet::<2>(&setup).await?;
    let key = key();
    stalled.order(&ask(&key, 10, 200)).await?;
    until_loading(&key).await?;
    stalled.stop()?;
    other.order(&ask(&key, 10, newer_load)).await?;
    // Until the other one has taken the lease that expired.
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
    assert_eq!(late.superseded, 1, "{late:?}");
    assert_eq!(newer.superseded, 0, "{newer:?}");
    // What is in the cache now.
    let mut both = [stalled, other];
    let read = ask_all(&mut both, &ask(&key, 10, 0)).await?;
    assert_eq!(only_value(&read)?.worker, 1, "the newer value stands");
    assert_eq!(loads(&key).await?, 2);
    Ok(())
}

#[tokio::test]
async fn a_holder_that_stood_still_beyond_its_lease_does_not_overwrite_a_newer_value() -> Result<()> {
    stalled(Kind::Single, 0).await?;
    stalled(Kind::Cluster, 0).await
}

#[tokio::test]
async fn a_holder_that_stood_still_does_not_overtake_the_load_that_took_its_lease() -> Result<()> {
    stalled(Kind::Single, 1_500).await?;
    stalled(Kind::Cluster, 1_500).await
}
