//! What other clients notice of a removal.

use std::time::Duration;

use anyhow::{Result, ensure};
use cache_admin::{Options, Outcome, Pace};
use tests::{Server, ServerOptions, Version, p99_while};

use super::sizes::println;
use super::{engine, fill, pattern, size};

/// What a gentle run may add to the p99 of other clients.
const BOUND: Duration = Duration::from_millis(1);

/// A machine on which other things run has a bad moment now and then; the promise is about the run.
const TRIES: u32 = 5;

#[tokio::test]
async fn a_gentle_run_adds_at_most_a_millisecond_to_the_p99_of_others() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let (client, engine) = engine(&[server.address()], false).await?;
    server.call(&["SET", "probe", "x"]).await?;
    let pattern = pattern("doomed:*")?;
    let mut told = Vec::new();
    for pace in [Pace::Full, Pace::Gentle] {
        for _ in 0..TRIES {
            fill(&client, (0..4 * size()).map(|number| format!("doomed:{number}"))).await?;
            fill(&client, (0..4 * size()).map(|number| format!("kept:{number}"))).await?;
            let quiet = p99_while(&server.address(), tokio::time::sleep(Duration::from_secs(1)))
                .await?
                .0;
            let options = Options::default().with_pace(pace);
            let (busy, report) = p99_while(&server.address(), engine.invalidate(&pattern, &options)).await?;
            ensure!(matches!(report.outcome, Outcome::Complete), "{report:?}");
            let rate = report.total().matched * 1_000 / u64::try_from(report.elapsed.as_millis().max(1))?;
            told.push(format!(
                "{pace:?}: p99 {quiet:?} quiet, {busy:?} in the run at {rate} keys/s"
            ));
            if pace == Pace::Full {
                break;
            }
            if busy <= quiet + BOUND {
                println(&told.join("\n"));
                return Ok(());
            }
        }
    }
    anyhow::bail!("{}", told.join("\n"))
}
