//! Runs one scenario in a suitable runtime. Not in here: what the scenarios check.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::{Pace, SCENARIOS, Subject};

/// The time limit of a scenario; a longer one waits for something that never happens.
const LIMIT: Duration = Duration::from_secs(120);

/// The clock that a client uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// [`clock`](crate::clock)'s: it can be paused, and jumps to the next timer.
    Virtual,
    /// A server's.
    Real,
}

/// Runs the scenario called `name` in its own runtime, against the client that `make` creates.
///
/// This is what each test of [`conformance_tests!`](crate::conformance_tests) does.
///
/// # Panics
///
/// Panics if the client breaks the contract, if the scenario takes longer than 120 s, and if there is no
/// scenario of that name.
pub fn run(name: &str, time: Time, make: impl Future<Output = Subject>) {
    let Some(scenario) = SCENARIOS.iter().find(|scenario| scenario.name == name) else {
        panic!("there is no scenario {name}");
    };
    runtime(scenario.pace, time).block_on(async {
        let subject = make.await;
        if tokio::time::timeout(LIMIT, (scenario.run)(&subject))
            .await
            .is_err()
        {
            panic!(
                "expected an end of {name}, it hangs (its keys start with {})",
                subject.key("")
            );
        }
    });
}

fn runtime(pace: Pace, time: Time) -> Runtime {
    let mut builder = match (pace, time) {
        (Pace::Timed, Time::Virtual) => {
            let mut builder = Builder::new_current_thread();
            builder.start_paused(true);
            builder
        }
        _ => {
            // More threads than most test machines have free cores: that exposes races.
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(4);
            builder
        }
    };
    match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => panic!("no runtime for the scenario: {error}"),
    }
}
