//! Encryption against the real Tink, in Python: each opens what the other seals. And rotations of a fleet of processes on
//! real servers.

mod cachectl;
mod chinmina;
mod keysets;
mod kms;
mod mutations;
mod rotation;
mod tink;
