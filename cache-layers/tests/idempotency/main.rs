//! The idempotency recipe, scenario 100, in virtual time.
//!
//! Several `Idempotency`s over one `MemoryCache` stand for several processes on one server.

#![expect(clippy::unwrap_used, reason = "a test ends where its preparations fail")]

mod cache_trouble;
mod claims;
mod isolation;
mod replay;
mod rig;
