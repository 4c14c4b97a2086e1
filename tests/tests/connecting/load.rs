//! Calls that go on while something changes; each failure is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Result, ensure};
use cache_core::{CacheClient, CacheError, Ttl};
use tokio::task::JoinSet;

const CALLERS: usize = 8;

pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    callers: JoinSet<Vec<CacheError>>,
}

impl Load {
    /// Starts callers that write, read and count.
    pub(crate) fn start(client: &Arc<impl CacheClient + 'static>) -> Self {
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let (client, stop, calls) = (Arc::clone(client), Arc::clone(&stop), Arc::clone(&calls));
            callers.spawn(async move {
                let (key, counter) = (format!("key:{caller}"), format!("counter:{caller}"));
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let results = [
                        client.set(&key, "value".into(), Ttl::Forever).await,
                        client.get(&key).await.map(drop),
                        client.incr(&counter).await.map(drop),
                    ];
                    failures.extend(results.into_iter().filter_map(Result::err));
                    calls.fetch_add(3, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
                failures
            });
        }
        Self { stop, calls, callers }
    }

    /// Ends the load; an error if any call has failed.
    pub(crate) async fn end_without_failure(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let failures: Vec<_> = self.callers.join_all().await.into_iter().flatten().collect();
        let calls = self.calls.load(Ordering::Relaxed);
        ensure!(
            failures.is_empty(),
            "{} of {calls} calls failed, the first: {}",
            failures.len(),
            failures[0]
        );
        ensure!(calls > 0, "nothing was called");
        Ok(())
    }
}
