//! Encryption against the real Tink, in Python: each opens what the other seals.

mod keysets;
mod mutations;
mod tink;
