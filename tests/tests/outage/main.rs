//! The backend goes away under load, with a guard around its client: scenarios 68 to 71, on the embedded
//! client (whose calls a test double fails), on a single server and on a cluster.
//!
//! What is promised to callers who take `bypass`: no error; no call that takes longer than its deadline
//! and 10 ms; at most a millisecond while the circuit is open; the cache is used again within two seconds
//! of the backend's return, and what comes back is not run over. Bounds on time are extended by how late the
//! machine itself was, see [`lateness`]. What was measured is printed.

#![expect(clippy::print_stdout, reason = "what was measured is part of the result")]

mod backend;
mod bypass;
mod callers;
#[path = "../faults/lateness.rs"]
mod lateness;
mod loads;
mod start;
mod states;
