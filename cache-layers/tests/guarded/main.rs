//! The guard, promise by promise, in virtual time: over an embedded client whose calls go wrong on demand.

#![expect(clippy::unwrap_used, reason = "a test ends where its preparations fail")]

mod answers;
mod cancellation;
mod circuit;
mod conformance;
mod deadline;
mod each;
mod log;
mod rig;
