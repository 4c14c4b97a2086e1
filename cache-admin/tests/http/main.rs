//! The HTTP service on the embedded client: every answer that any test here sees is held against the description of
//! its route.

#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

mod asking;
mod confirming;
mod described;
mod edge;
mod following;
mod keys;
mod looking;
mod noting;
mod refusing;
mod removing;
mod schema;
mod steering;
