//! Builds keys. (being built)

/// Builds keys.
#[derive(Clone, Debug)]
pub struct Keyspace;
