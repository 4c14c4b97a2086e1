//! How late the machine is: a thread that does nothing but sleep for two milliseconds, and notes the worst
//! that it overslept.
//!
//! A bound on the time of a call is only worth something if it can tell a slow client from a busy machine. The
//! thread has a runtime of its own, so a client that holds up its callers' runtime gets no credit for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cache_core::clock;

/// What a call may take beyond its deadline on a machine that is never late: a turn of the timer wheel and
/// a few of the scheduler.
const SLACK: Duration = Duration::from_millis(10);

const BEAT: Duration = Duration::from_millis(2);

/// A running measurement. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Lateness {
    stop: Arc<AtomicBool>,
    worst: Arc<AtomicU64>,
}

impl Lateness {
    pub(crate) fn measure() -> anyhow::Result<Self> {
        let measuring = Self {
            stop: Arc::default(),
            worst: Arc::default(),
        };
        let (stop, worst) = (Arc::clone(&measuring.stop), Arc::clone(&measuring.worst));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        std::thread::Builder::new()
            .name("lateness".into())
            .spawn(move || {
                runtime.block_on(async {
                    while !stop.load(Ordering::Relaxed) {
                        let asleep = clock::now();
                        tokio::time::sleep(BEAT).await;
                        let late = asleep.elapsed().saturating_sub(BEAT);
                        worst.fetch_max(
                            u64::try_from(late.as_micros()).unwrap_or(u64::MAX),
                            Ordering::Relaxed,
                        );
                    }
                });
            })?;
        Ok(measuring)
    }

    /// What a bound on time is extended by: the slack, and the worst lateness so far.
    pub(crate) fn slack(&self) -> Duration {
        SLACK + Duration::from_micros(self.worst.load(Ordering::Relaxed))
    }
}

impl Drop for Lateness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
