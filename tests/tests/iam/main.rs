//! IAM tokens, end to end: over TLS to real servers whose ACL accepts exactly the valid tokens.
//!
//! A gate in front of each server plays the part of the service: it ends TLS, recomputes every token by an
//! implementation of its own, and makes the server accept those that are right, for as long as they are.

mod gate;
mod lasting;
#[path = "../faults/lateness.rs"]
mod lateness;
#[path = "../faults/load.rs"]
#[expect(dead_code, reason = "shared with the faults, which ask for more")]
mod load;
mod login;
mod refusal;
#[path = "../faults/setup.rs"]
#[expect(dead_code, reason = "shared with the faults, which ask for more")]
mod setup;
mod shown;
mod stage;
mod verifier;
