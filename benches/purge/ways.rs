//! Two ways to remove keys of a cluster's primary, one connection, one pipeline for each page: a command for each
//! key, and one for neighbours of a slot.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use benches::median;
use cache_core::clock;
use cache_core::slot::slot_of;
use redis::aio::MultiplexedConnection;
use tests::{Cluster, ClusterOptions, ServerOptions, Version};

use crate::{Sizes, engine, fill, float, say};

/// Keys that the server looks at for a page.
const PAGE: u32 = 1_000;

/// Keys that one command names at most.
const GROUP: usize = 128;

#[derive(Clone, Copy, Debug)]
enum Way {
    Singles,
    Grouped,
}

pub(crate) async fn measure(sizes: Sizes) -> Result<()> {
    // One primary with all slots: as many keys in each as in a cluster of three with three times the keys.
    let cluster =
        Cluster::start(ClusterOptions::new(1, 0).node(ServerOptions::new(Version::Valkey8))).await?;
    let (client, _engine) = engine(&cluster.addresses(), true).await?;
    let doomed = sizes.keys / 2;
    fill(
        &client,
        (0..sizes.keys - doomed).map(|number| format!("kept:{number}")),
    )
    .await?;
    let redis = redis::Client::open(format!("redis://{}", cluster.node(0).address()))?;
    let mut connection = redis.get_multiplexed_async_connection().await?;
    let ways = [Way::Singles, Way::Grouped];
    let mut times: [Vec<f64>; 2] = Default::default();
    for _ in 0..sizes.rounds {
        for (way, times) in ways.into_iter().zip(&mut times) {
            fill(&client, (0..doomed).map(|number| format!("doomed:{number}"))).await?;
            let (removed, time) = remove(&mut connection, way).await?;
            ensure!(removed == doomed, "{way:?} removed {removed} of {doomed}");
            times.push(float(doomed) / time.as_secs_f64());
        }
    }
    say(format!(
        "UNLINK in a cluster, {doomed} of {} keys, pages of {PAGE}",
        sizes.keys
    ))?;
    let [singles, grouped] = times.map(|times| median(times.into_iter()));
    say(format!("a command for each key           {singles:>9.0} keys/s"))?;
    say(format!(
        "one for neighbours of a slot     {grouped:>9.0} keys/s, {:.2} times as many; the engine does this\n",
        grouped / singles
    ))
}

/// Removes what begins with `doomed:`, page by page; how many, and what the removals took, without the pages.
async fn remove(connection: &mut MultiplexedConnection, way: Way) -> Result<(u64, Duration)> {
    let (mut cursor, mut removed, mut time) = (0_u64, 0, Duration::ZERO);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor)
            .arg("MATCH")
            .arg("doomed:*")
            .arg("COUNT")
            .arg(PAGE);
        let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(connection).await?;
        if !keys.is_empty() {
            let began = clock::now();
            let groups: Vec<&[Vec<u8>]> = match way {
                Way::Singles => keys.chunks(1).collect(),
                Way::Grouped => keys
                    .chunk_by(|one, two| slot_of(one) == slot_of(two))
                    .flat_map(|group| group.chunks(GROUP))
                    .collect(),
            };
            let mut pipeline = redis::pipe();
            for group in groups {
                pipeline.cmd("UNLINK").arg(group);
            }
            let counts: Vec<u64> = pipeline.query_async(connection).await.context("UNLINK")?;
            time += began.elapsed();
            removed += counts.iter().sum::<u64>();
        }
        cursor = next;
        if cursor == 0 {
            return Ok((removed, time));
        }
    }
}
