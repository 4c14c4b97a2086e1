//! The embedded client. (being built)

/// The embedded client.
#[derive(Debug, Default)]
pub struct MemoryCache;
