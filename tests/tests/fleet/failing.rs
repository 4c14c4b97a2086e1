//! Scenario 51: an upstream that always fails is asked once per hold, by the whole fleet.

use std::time::Duration;

use anyhow::{Result, ensure};
use cache_core::clock;
use tests::Kind;
use tests::fleet::{Order, Setup};

use crate::worker::{Worker, ask, ask_all, key, loads, on};

const HOLD: u64 = 1_000;
const SPAN: Duration = Duration::from_secs(6);

async fn failing(kind: Kind) -> Result<()> {
    let setup = Setup {
        failure_hold: HOLD,
        ..on(kind).await?
    };
    let mut fleet = Worker::fleet::<8>(&setup).await?;
    let key = key();
    let order = Order {
        fails: true,
        ..ask(&key, 25, 20)
    };
    let (begun, mut asked) = (clock::now(), 0);
    while begun.elapsed() < SPAN {
        for report in ask_all(&mut fleet, &order).await? {
            ensure!(report.values.is_empty(), "{report:?}");
            let wrong = report
                .errors
                .keys()
                .find(|kind| !["Load", "HeldBack"].contains(&kind.as_str()));
            ensure!(wrong.is_none(), "{report:?}");
            asked += report.errors.values().sum::<usize>();
        }
    }
    let span = begun.elapsed();
    let tries = loads(&key).await?;
    println!("{kind:?}: {asked} calls of 8 processes in {span:?} were {tries} tries, hold {HOLD} ms");
    // Each try begins a hold; the last one may be under way.
    let most = span.as_millis() / u128::from(HOLD) + 1;
    assert!(u128::from(tries) <= most, "{tries} tries, {most} at most");
    assert!(tries >= 4, "a hold ends: {tries} tries");
    Ok(())
}

#[tokio::test]
async fn a_loader_that_always_fails_is_tried_once_per_hold_across_the_fleet() -> Result<()> {
    failing(Kind::Single).await
}

#[tokio::test]
async fn a_loader_that_always_fails_is_tried_once_per_hold_on_a_cluster_too() -> Result<()> {
    failing(Kind::Cluster).await
}
