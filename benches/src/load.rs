//! Load from many tasks at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cache_core::clock;
use hdrhistogram::Histogram;

/// What one contender did in one round.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Calls per second.
    pub rate: f64,
    /// Median time of a call, in microseconds.
    pub p50: f64,
    /// Time that 99 of 100 calls stay within, in microseconds.
    pub p99: f64,
    /// What this process spent on a call, in microseconds of one core: on a noisy machine the steadiest
    /// figure of all.
    pub cpu: f64,
}

/// The call that tasks repeat. Each task has its own clone, so that tasks share only what the client under load makes
/// them share.
pub trait Call: Clone + Send + 'static {
    /// Makes call `number` of task `task`.
    fn call(&mut self, task: usize, number: usize) -> impl Future<Output = ()> + Send;
}

impl<F, Fut> Call for F
where
    F: FnMut(usize, usize) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    fn call(&mut self, task: usize, number: usize) -> impl Future<Output = ()> + Send {
        self(task, number)
    }
}

/// Runs `tasks` tasks for `slice`, each making one call after the other; `call` gets the task and the
/// number of the call.
///
/// # Panics
///
/// Panics if a task panics, which is how a call that fails ends the benchmark.
pub async fn run<F, Fut>(tasks: usize, slice: Duration, call: F) -> Sample
where
    F: FnMut(usize, usize) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    repeat(tasks, slice, call).await
}

/// Runs `tasks` tasks for `slice`, each making one `call` after the other.
///
/// # Panics
///
/// Panics if a task panics, which is how a call that fails ends the benchmark.
pub async fn repeat(tasks: usize, slice: Duration, call: impl Call) -> Sample {
    let stop = Arc::new(AtomicBool::new(false));
    let (start, cpu) = (clock::now(), spent());
    let workers: Vec<_> = (0..tasks)
        .map(|task| {
            let (stop, mut call) = (Arc::clone(&stop), call.clone());
            tokio::spawn(async move {
                let mut times = histogram();
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    let begun = clock::now();
                    call.call(task, number).await;
                    let nanos = begun.elapsed().as_nanos();
                    times.saturating_record(u64::try_from(nanos).unwrap_or(u64::MAX));
                    number += 1;
                }
                times
            })
        })
        .collect();
    tokio::time::sleep(slice).await;
    stop.store(true, Ordering::Relaxed);
    let mut times = histogram();
    for worker in workers {
        #[expect(clippy::expect_used, reason = "a call that fails ends the benchmark")]
        let worker = worker.await.expect("every call succeeds");
        times += worker;
    }
    let cpu = spent() - cpu;
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of a benchmark are far below 2^52"
    )]
    let (calls, p50, p99) = (
        times.len() as f64,
        times.value_at_quantile(0.5) as f64,
        times.value_at_quantile(0.99) as f64,
    );
    Sample {
        rate: calls / start.elapsed().as_secs_f64(),
        p50: p50 / 1_000.0,
        p99: p99 / 1_000.0,
        cpu: cpu.as_secs_f64() * 1e6 / calls,
    }
}

/// The time that all cores spent on this process so far.
fn spent() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "the bounds are constants that fit")]
    Histogram::new_with_bounds(1, 60_000_000_000, 2).expect("constant bounds")
}
