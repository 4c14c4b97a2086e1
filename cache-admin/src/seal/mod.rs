//! Sealed tokens: what the service hands out and gets back, and nobody else can make or change.
//!
//! A token is readable and no secret, but carries a code (HMAC-SHA-256) over all that it says: its version, what it is
//! for, what it is bound to, when it ends, and its payload. Nothing is stored for one; which
//! confirmations were used is kept with the jobs.
//!
//! Not in here: bearer tokens ([`access`](crate::access)), which are secrets.

mod binding;
mod confirm;
mod cursor;
mod secret;
mod stamp;
mod token;

pub use binding::Binding;
pub use confirm::Confirmation;
pub use cursor::CursorScope;
pub use token::{Purpose, Sealer, Unsealed};

pub(crate) use secret::random;
