//! What other clients notice of something: one that asks the same again and again meanwhile.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::Instant;

use crate::resp::Connection;

/// The p99 of a `GET probe` of the server at `address`, asked again and again while `work` goes on, and what came of
/// the work.
///
/// # Errors
///
/// When the server does not answer.
pub async fn p99_while<T>(address: &str, work: impl Future<Output = T>) -> Result<(Duration, T)> {
    let address = address.to_owned();
    let (ended, mut end) = oneshot::channel::<()>();
    // On a thread of its own, so that our own work does not stand in its way.
    let probe = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut connection = Connection::open(&address).await?;
            let mut calls = Vec::new();
            while end.try_recv() == Err(TryRecvError::Empty) {
                let began = now();
                connection.call(&["GET", "probe"]).await?;
                calls.push(began.elapsed());
            }
            Ok::<_, anyhow::Error>(calls)
        })
    });
    let done = work.await;
    let _ = ended.send(());
    let calls = tokio::task::spawn_blocking(move || probe.join()).await?;
    let mut calls = calls.map_err(|_| anyhow!("the probe panicked"))??;
    calls.sort_unstable();
    let place = calls.len() * 99 / 100;
    Ok((calls.get(place).copied().context("no GET was answered")?, done))
}

#[expect(
    clippy::disallowed_methods,
    reason = "this library is independent of the product, its clock included"
)]
fn now() -> Instant {
    Instant::now()
}
