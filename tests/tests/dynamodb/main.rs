//! DynamoDB: the promises of the contract on two more emulators, a fleet of processes on one table, and the recipes on it.
//!
//! The fleet and the recipes work on `dynoxide`, an emulator in the test's own process. What emulators do not show is
//! in `docs/aws.md`.

#![expect(clippy::print_stdout, reason = "what was measured is printed")]

mod emulators;
mod fleet;
#[path = "../faults/lateness.rs"]
mod lateness;
mod recipes;
mod table;
#[path = "../fleet/worker.rs"]
#[expect(dead_code, reason = "shared with the fleets on servers, which ask for more")]
mod worker;
