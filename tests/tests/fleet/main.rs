//! One load for a whole fleet: processes of their own, on real servers, of which some are stopped in the middle
//! or killed. Scenarios 46 to 53; the same in virtual time is in `cache-layers/tests/read_through`. And what decoded
//! values that a process keeps near are worth.
//!
//! Loads are counted by the loaders themselves, on a server that is not the cache. What was measured is
//! printed.

#![expect(clippy::print_stdout, reason = "what was measured is printed")]

mod backend;
mod failing;
mod holder;
#[path = "../faults/lateness.rs"]
mod lateness;
mod one_load;
mod typed;
mod worker;
