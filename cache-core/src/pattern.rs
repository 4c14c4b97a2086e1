//! Glob patterns over keys. (being built)

/// A glob pattern.
#[derive(Clone, Debug)]
pub struct Pattern;
