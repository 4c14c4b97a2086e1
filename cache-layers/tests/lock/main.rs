//! Locks, in virtual time.
//!
//! Several `Lock`s over one `MemoryCache` stand for several processes on one server.

#![expect(clippy::unwrap_used, reason = "a test ends where its preparations fail")]

mod exclusive;
mod fence;
mod kept;
mod lost;
mod replies;
mod rig;
mod waiting;
#[path = "../wire/mod.rs"]
#[expect(dead_code, reason = "shared with tests that ask for more")]
mod wire;
