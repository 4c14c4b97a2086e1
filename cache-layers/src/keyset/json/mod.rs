//! Keysets as JSON.

mod base64;
mod read;
mod value;
mod write;

pub(super) use read::{Read, read};
pub(super) use write::{write, write_encrypted};
