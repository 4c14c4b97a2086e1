//! A cluster of three: all primaries at once, and one hash tag among all keys.

use std::time::Duration;

use anyhow::{Result, ensure};
use benches::Goal;
use cache_admin::{Options, Pace};
use tests::{Cluster, ClusterOptions, ServerOptions, Version};

use crate::{Sizes, check, engine, fill, float, pattern, say};

/// Keys of the hash tag.
const TAGGED: u64 = 50;

pub(crate) async fn measure(sizes: Sizes) -> Result<()> {
    let node = ServerOptions::new(Version::Valkey8);
    let cluster = Cluster::start(ClusterOptions::new(3, 0).node(node)).await?;
    let (client, engine) = engine(&cluster.addresses(), true).await?;
    let doomed = sizes.keys / 2;
    fill(
        &client,
        (0..sizes.keys - doomed).map(|number| format!("kept:{number}")),
    )
    .await?;
    fill(&client, (0..doomed).map(|number| format!("doomed:{number}"))).await?;

    let full_speed = Options::default().with_pace(Pace::Full);
    let tagged = pattern("app:{acme}:*")?;
    // Connections are made at the first time.
    engine.count(&tagged, 0, &full_speed).await;
    let mut fastest = Duration::MAX;
    for _ in 0..sizes.rounds.max(5) {
        fill(
            &client,
            (0..TAGGED).map(|number| format!("app:{{acme}}:{number}")),
        )
        .await?;
        let report = engine.invalidate(&tagged, &full_speed).await;
        check(&report, TAGGED)?;
        fastest = fastest.min(report.elapsed);
    }

    let report = engine.invalidate(&pattern("doomed:*")?, &full_speed).await;
    check(&report, doomed)?;
    let wall = report.elapsed.as_secs_f64();
    let each: f64 = report
        .primaries
        .iter()
        .map(|primary| primary.elapsed.as_secs_f64())
        .sum();
    ensure!(report.primaries.len() == 3, "{report:?}");
    say(format!(
        "three primaries, {doomed} of {} keys: {wall:.2} s, {:.0} keys/s",
        sizes.keys,
        float(doomed) / wall
    ))?;
    let goal = |what: &str, measured, bound, at_least| Goal {
        what: what.to_owned(),
        measured,
        bound,
        at_least,
    };
    say(goal(
        "primaries worked on at a time, on average",
        each / wall,
        2.5,
        true,
    ))?;
    say(goal(
        &format!("ms for a hash tag's {TAGGED} keys among {}", sizes.keys),
        fastest.as_secs_f64() * 1e3,
        5.0,
        false,
    ))?;
    say("")
}
