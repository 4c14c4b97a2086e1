//! The DynamoDB client against `dynoxide`, an emulator inside the test's own process, and through a proxy that does what
//! emulators do not: it throttles, leaves items unprocessed, loses answers, hangs.
//!
//! What this cannot show: reads that are eventually consistent (the emulator always answers the newest), the limit of a
//! hot partition, and the minutes that a real table takes to be made. A second opinion, from another emulator, is in the
//! crate `tests`.

#![expect(clippy::unwrap_used, reason = "a test ends where its preparations fail")]

mod clocks;
mod conformance;
mod cost;
mod double;
mod emulator;
mod faults;
mod layout;
mod scan;
mod start;
