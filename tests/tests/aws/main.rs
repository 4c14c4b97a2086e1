//! What needs AWS, without AWS: two emulators, and servers of our own for what neither of them shows.
//!
//! The emulators are programs in Python that are installed under the target folder. If they cannot be, their tests are
//! reported as skipped.

mod account;
mod child;
mod double;
mod iam;
mod keyset;
mod kms;
mod policies;
mod secret;
mod secrets;
mod setup;
mod tink;
