//! Encryption against the real Tink, in Python: each opens what the other seals.

mod cachectl;
mod keysets;
mod kms;
mod mutations;
mod tink;
