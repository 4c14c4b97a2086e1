//! Any schedule of calls, against what a limiter with a memory for every call would have said.

use std::time::Duration;

use cache_core::clock;
use cache_layers::Quota;
use proptest::prelude::*;

use crate::rig::{Rig, check, ms};

const WINDOW: Duration = ms(1_000);

/// A call: how long after the one before, by which process, at what cost.
fn calls() -> impl Strategy<Value = Vec<(u64, usize, u64)>> {
    let pause = prop_oneof![4 => 0_u64..60, 1 => 0_u64..700, 1 => 900_u64..2_500];
    prop::collection::vec((pause, 0_usize..3, 1_u64..4), 1..120)
}

/// When which cost was allowed, and when which was denied, in milliseconds since the first window began.
#[derive(Default)]
struct Log {
    allowed: Vec<(u64, u64)>,
    denied: Vec<(u64, u64)>,
}

async fn run(quota: Quota, calls: &[(u64, usize, u64)]) -> Log {
    let rig = Rig::new();
    let begun = clock::now();
    let processes = [rig.process(), rig.process(), rig.process()];
    let mut log = Log::default();
    for (pause, process, cost) in calls {
        tokio::time::sleep(ms(*pause)).await;
        let now = u64::try_from((clock::now() - begun).as_millis()).unwrap();
        let decision = check(&processes[*process], &quota, *cost).await;
        let list = if decision.allowed {
            &mut log.allowed
        } else {
            &mut log.denied
        };
        list.push((now, *cost));
    }
    log
}

fn virtually<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(future)
}

impl Log {
    /// What was used from `from` on, up to and without `to`.
    fn used(&self, from: u64, to: u64) -> u64 {
        let within = self.allowed.iter().filter(|(at, _)| (from..to).contains(at));
        within.map(|(_, cost)| cost).sum()
    }

    fn used_by(&self, from: u64, at: u64) -> u64 {
        self.used(from, at + 1)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_fixed_window_allows_what_fits_and_nothing_else(calls in calls(), limit in 4_u64..20) {
        let log = virtually(run(Quota::fixed(limit, WINDOW), &calls));
        for window in log.allowed.iter().map(|(at, _)| at / 1_000) {
            prop_assert!(log.used(window * 1_000, (window + 1) * 1_000) <= limit);
        }
        for (at, cost) in &log.denied {
            let before = log.used_by(at / 1_000 * 1_000, *at);
            prop_assert!(before + cost > limit, "denied at {at} although it fitted");
        }
    }

    #[test]
    fn a_sliding_window_stays_within_the_bounds_that_are_stated(calls in calls(), limit in 4_u64..20) {
        let log = virtually(run(Quota::sliding(limit, WINDOW), &calls));
        for (first, (from, _)) in log.allowed.iter().enumerate() {
            prop_assert!(log.used(from / 1_000 * 1_000, from / 1_000 * 1_000 + 1_000) <= limit);
            let mut used = 0;
            for (at, cost) in &log.allowed[first..] {
                used += cost;
                // In `d` windows, up to one, at most `limit * (1 + d)`.
                let took = at - from;
                if took <= 1_000 {
                    prop_assert!(used * 1_000 <= limit * (1_000 + took), "{used} in {took} ms");
                }
            }
        }
        for (at, cost) in &log.denied {
            let window = at / 1_000 * 1_000;
            let before = window.checked_sub(1_000).map_or(0, |from| log.used(from, window));
            let counted = (before * (window + 1_000 - at)).div_ceil(1_000);
            prop_assert!(counted + log.used_by(window, *at) + cost > limit, "denied at {at} although it fitted");
        }
    }
}
