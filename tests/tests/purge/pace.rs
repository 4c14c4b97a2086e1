//! What other clients notice of a removal.

use std::time::Duration;

use anyhow::{Result, ensure};
use cache_admin::{Options, Outcome, Pace};
use cache_core::clock;
use tests::{Connection, Server, ServerOptions, Version};

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
            let quiet = p99(&server, tokio::time::sleep(Duration::from_secs(1))).await?.0;
            let options = Options::default().with_pace(pace);
            let (busy, report) = p99(&server, engine.invalidate(&pattern, &options)).await?;
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

/// The p99 of a GET that is asked again and again while `work` goes on.
async fn p99<T>(server: &Server, work: impl Future<Output = T>) -> Result<(Duration, T)> {
    let address = server.address();
    let (ended, mut end) = tokio::sync::oneshot::channel::<()>();
    // On a thread of its own, so that our own work does not stand in its way.
    let probe = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut connection = Connection::open(&address).await?;
            let mut calls = Vec::new();
            while end.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
                let began = clock::now();
                connection.call(&["GET", "probe"]).await?;
                calls.push(began.elapsed());
            }
            Ok::<_, anyhow::Error>(calls)
        })
    });
    let done = work.await;
    let _ = ended.send(());
    let calls = tokio::task::spawn_blocking(move || probe.join()).await?;
    let mut calls = calls.map_err(|_| anyhow::anyhow!("the probe panicked"))??;
    calls.sort_unstable();
    let place = calls.len() * 99 / 100;
    Ok((calls.get(place).copied().unwrap_or_default(), done))
}
