//! Runs one scenario in a runtime that suits it. What the scenarios check is not in here.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::{Pace, SCENARIOS, Subject};

/// How long a scenario may take; one that takes longer waits for something that does not come.
const LIMIT: Duration = Duration::from_secs(120);

/// Whose time a client goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// [`clock`](crate::clock)'s: it can be held, and jumps to the next thing that waits.
    Virtual,
    /// A server's.
    Real,
}

/// Runs the scenario called `name` against the client that `make` makes, in a runtime of its own.
///
/// This is what each test of [`conformance_tests!`](crate::conformance_tests) does.
///
/// # Panics
///
/// Where the client breaks the contract, where the scenario takes longer than 120 s, and where there is
/// no scenario of that name.
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
            // More threads than most machines that test have cores to spare: that is what shows races.
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
