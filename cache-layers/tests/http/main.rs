//! The HTTP middleware in front of a real router, in virtual time. With scenarios 99 and 100.

#![expect(clippy::unwrap_used, reason = "a test ends where its preparations fail")]

mod idempotency;
mod rate_limit;
