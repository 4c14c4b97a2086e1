//! What a run takes of this process's memory, however many keys there are.

use anyhow::{Context as _, Result};
use benches::Goal;
use cache_admin::{Options, Pace};

use crate::{Sizes, check, engine, float, pattern, populate, say, server};

/// Runs first: what the others leave behind would hide it.
pub(crate) async fn measure(sizes: Sizes) -> Result<()> {
    let server = server().await?;
    let (_client, engine) = engine(&[server.address()], false).await?;
    populate(&server, "doomed", sizes.memory_keys, 1).await?;
    // Once without removing anything, so that connections and buffers are there.
    let full_speed = Options::default().with_pace(Pace::Full);
    engine.count(&pattern("none:*")?, 0, &full_speed).await;
    let before = most_resident()?;
    let report = engine.invalidate(&pattern("doomed:*")?, &full_speed).await;
    check(&report, sizes.memory_keys)?;
    say(Goal {
        what: format!("MiB more memory in a removal of {} keys", sizes.memory_keys),
        measured: (most_resident()? - before) / 1_024.0,
        bound: 32.0,
        at_least: false,
    })?;
    say("")
}

/// The most memory that this process has had, in KiB.
fn most_resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let text = line.context("VmHWM")?.trim().trim_end_matches(" kB");
    Ok(float(text.parse()?))
}
