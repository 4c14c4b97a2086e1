//! Tink keysets for authenticated encryption: reading, writing, changing and using them.
//!
//! A [`Keyset`] seals and opens values, and [`load`] creates one from its stored bytes. [`KeysetEditor`] creates and
//! changes keysets, and [`FileKeysetStore`] stores one in a file. Keysets and ciphertexts are those of Google Tink's
//! AEAD with AES-GCM keys, in both directions.
//!
//! # Deviations from Tink
//!
//! Tink here means the Python package, version 1.16.1. Everything else that it accepts is accepted, and everything
//! that it refuses is refused. The following is refused although Tink accepts it:
//!
//! - base64 with characters outside its alphabet (Tink skips them), other than white space;
//! - a JSON field that is given twice, once in camelCase and once in `snake_case`;
//! - enums as `true` or as fractions, numbers with `_` in them;
//! - an empty list in place of an object;
//! - a status number that Tink does not define;
//! - a binary keyset with a field of another wire type than it should have (Tink's parser skips the field);
//! - clear text in a place where a key-encryption key says that the keyset should be encrypted.
//!
//! Not in here: storing values in a cache, which the layer `Encrypted` does, and the services that hold keysets.

mod aead;
mod binary;
mod check;
mod editor;
mod file;
mod form;
mod info;
mod json;
mod load;
mod proto;
mod wrap;

pub use aead::{Keyset, OpenError};
pub use editor::KeysetEditor;
pub use file::FileKeysetStore;
pub use form::KeysetForm;
pub use info::{KeyInfo, KeyStatus, KeysetInfo, OutputPrefix};
pub use load::load;
