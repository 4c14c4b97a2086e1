//! The rate limiter, in virtual time.
//!
//! Several limiters over one `MemoryCache` stand for several processes on one server.

#![expect(clippy::unwrap_used, reason = "a test ends where its preparations fail")]

mod clock;
mod concurrent;
mod denied;
mod fixed;
mod model;
mod rig;
mod sliding;
mod trouble;
